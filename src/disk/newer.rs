//! What a newer kinetail left in a form that this one does not know.

use std::path::PathBuf;

/// A file of a newer format. It is no damage: whoever goes back to an older kinetail has to choose, so nothing is moved,
/// replaced or guessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is of a newer kinetail: {kind} of version {version}, and kinetail {} reads none above {known}. Nothing was changed. \
     Start the newer kinetail again; or {instead}. See docs/upgrading.md",
    .path.display(),
    env!("CARGO_PKG_VERSION")
)]
pub struct NewerFormat {
    /// Where it is.
    pub path: PathBuf,
    /// What it is, with its article.
    pub kind: &'static str,
    /// The version of its format.
    pub version: u32,
    /// The newest that is known here.
    pub known: u32,
    /// What may be done in place of going back, with what that costs.
    pub instead: &'static str,
}
