//! Which policies there are, for callers.

use std::sync::Arc;

use supervisor_api::{Policy, PolicyList};
use supervisor_policy::Resolved;

use super::Supervisor;

impl Supervisor {
    /// The policies that a submission may name, by name.
    pub fn policy_list(&self) -> PolicyList {
        let generation = self.inner().settings.current();
        let told = |policy: &Arc<Resolved>| Policy {
            name: policy.name().to_owned(),
            description: policy.description().to_owned(),
            digest: generation.reference(policy).digest,
            is_default: policy.name() == generation.default_policy,
        };
        let mut policies: Vec<Policy> = generation.policies.iter().map(told).collect();
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        PolicyList { generation: generation.number, policies }
    }
}
