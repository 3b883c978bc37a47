use thiserror::Error;

/// Why the demonstration cannot go on: not a broken promise, but a step that could not be tried.
#[derive(Debug, Error)]
#[error("{doing}: {cause}")]
pub(crate) struct Trouble {
    doing: String,
    cause: String,
}

/// Says what was being done when something failed.
pub(crate) trait While<T> {
    /// `doing` reads as in "reading the log: no such file".
    fn while_doing(self, doing: &str) -> Result<T, Trouble>;
}

impl Trouble {
    pub(crate) fn new(doing: &str, cause: impl ToString) -> Self {
        Self { doing: doing.to_owned(), cause: cause.to_string() }
    }
}

impl<T, E: std::error::Error> While<T> for Result<T, E> {
    fn while_doing(self, doing: &str) -> Result<T, Trouble> {
        self.map_err(|error| Trouble::new(doing, chain(&error)))
    }
}

impl<T> While<T> for Option<T> {
    fn while_doing(self, doing: &str) -> Result<T, Trouble> {
        self.ok_or_else(|| Trouble::new(doing, "there is none"))
    }
}

/// An error with all that lies behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        behind = cause.source();
    }
    text
}
