//! Which policy is in force, for everything that stores or sends lines.
use super::Policy;
use std::sync::{Arc, PoisonError, RwLock};

/// Shared by all that store or send; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<RwLock<Option<Arc<Policy>>>>);

impl Handle {
    /// With a policy in force from the beginning.
    pub fn new(policy: Policy) -> Handle {
        let handle = Handle::default();
        handle.change(policy);
        handle
    }

    /// The policy in force; `None` when it says nothing and there is no key.
    pub fn policy(&self) -> Option<Arc<Policy>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a policy in force, for all that is looked at from now on.
    pub fn change(&self, policy: Policy) {
        let says_something = policy != Policy::default();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = says_something.then(|| Arc::new(policy));
    }
}
