//! How secrets are printed: not at all.
use std::fmt;

/// Stands for a secret in `Debug` output, whether there is one or not.
pub(crate) struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use crate::authpb::User;
    use crate::etcdserverpb::{
        AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest,
        AuthenticateResponse,
    };

    const CANARY: &str = "canary";

    fn assert_silent(message: impl Debug) {
        for printed in [format!("{message:?}"), format!("{message:#?}")] {
            assert!(!printed.contains(CANARY), "{printed}");
            // The bytes of the secret as a list of numbers would be no better.
            assert!(!printed.contains("99, 97"), "{printed}");
            assert!(printed.contains("<redacted>"), "{printed}");
        }
    }

    #[test]
    fn messages_with_secrets_do_not_print_them() {
        assert_silent(AuthenticateRequest {
            name: "alice".into(),
            password: CANARY.into(),
        });
        assert_silent(AuthenticateResponse {
            header: None,
            token: CANARY.into(),
        });
        assert_silent(AuthUserAddRequest {
            name: "alice".into(),
            password: CANARY.into(),
            options: None,
            hashed_password: CANARY.into(),
        });
        assert_silent(AuthUserChangePasswordRequest {
            name: "alice".into(),
            password: CANARY.into(),
            hashed_password: CANARY.into(),
        });
        assert_silent(User {
            name: "alice".into(),
            password: CANARY.into(),
            roles: Vec::new(),
            options: None,
        });
    }

    #[test]
    fn the_rest_of_a_message_with_secrets_is_printed() {
        let request = AuthenticateRequest {
            name: "alice".into(),
            password: CANARY.into(),
        };
        let printed = format!("{request:?}");
        assert_eq!(
            printed,
            r#"AuthenticateRequest { name: "alice", password: <redacted> }"#
        );
    }
}
