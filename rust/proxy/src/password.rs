use ztna_model::Secret;

/// The password that apps must give: a secret of this run, told to whoever starts them.
#[derive(Clone, Debug)]
pub(crate) struct Password(Secret<String>);

impl Password {
    pub(crate) fn new(secret: &Secret<String>) -> Self {
        Self(secret.clone())
    }

    /// Whether `candidate` is it, in time that depends on the lengths alone. An empty one never is.
    pub(crate) fn is(&self, candidate: &[u8]) -> bool {
        !candidate.is_empty() && self.0.matches(candidate)
    }
}
