//! What a request shows of who sends it.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::watch;

/// No token that etcd gives, and no sensible JWT, is longer; a longer one would not fit into the head of a request.
const MAX_LEN: usize = 64 << 10;

/// A token, or that none is needed. Printed nowhere.
#[derive(Clone, Default)]
pub(crate) struct Token {
    value: Option<HeaderValue>,
    /// Counts the tokens of a client, from 1; 0 is that of requests that go without.
    generation: u64,
}

/// The token that the client's requests show now. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentToken(Arc<watch::Sender<Token>>);

impl Token {
    /// `text: None`: the cluster wants no token. Whitespace around it, as at the end of a file, is left out.
    ///
    /// # Errors
    /// Why the text can be no token, without a word of it.
    pub(crate) fn new(text: Option<&str>, generation: u64) -> Result<Self, &'static str> {
        let value = match text.map(str::trim) {
            Some("") => return Err("it is empty"),
            Some(text) if text.len() > MAX_LEN => return Err("it is longer than 64 KiB"),
            Some(text) => {
                let mut value = HeaderValue::from_str(text)
                    .map_err(|_| "it has characters that no header may have")?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self { value, generation })
    }

    /// For the header `token`. Sensitive: HTTP/2 does not keep it in its compression tables.
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        self.value.as_ref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Did the cluster want none when it was asked?
    pub(crate) fn is_waived(&self) -> bool {
        self.generation > 0 && self.value.is_none()
    }

    /// Is it the same text, whenever it was got?
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.value.is_some() && self.value == other.value
    }
}

impl CurrentToken {
    pub(crate) fn get(&self) -> Token {
        self.0.borrow().clone()
    }

    pub(crate) fn set(&self, token: Token) {
        self.0.send_replace(token);
    }

    /// Tells when there is another one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Token> {
        self.0.subscribe()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printed_nowhere_and_kept_out_of_compression_tables() {
        let token = Token::new(Some("canary"), 3).unwrap();
        assert_eq!(format!("{token:?}"), "Token { generation: 3, .. }");
        assert!(token.header().unwrap().is_sensitive());
        assert!(Token::new(None, 1).unwrap().header().is_none());
    }

    #[test]
    fn what_can_be_no_token_is_refused_without_a_word_of_it() {
        for text in [" ", "can\nary", "canary\0", &"canary".repeat(20_000)] {
            let wrong = Token::new(Some(text), 1).unwrap_err();
            assert!(!wrong.contains("canary"), "{wrong}");
        }
    }
}
