//! How secrets are printed: not at all.
use std::fmt;

/// Stands for a secret in `Debug` output, whether there is one or not.
pub(crate) struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}
