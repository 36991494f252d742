//! Services that live as long as a chain.

use super::chains::Chains;
use crate::{PlanError, Service, ServiceScope, Step, StepIndex};

/// Where the services of each chain are declared, in the chain's order. Nothing at all in a plan without any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainServices(Vec<Vec<(StepIndex, usize)>>);

impl ChainServices {
    /// Finds them, and that no step could mean two services by one name.
    pub fn new(steps: &[Step], order: &[StepIndex], chains: &Chains) -> Result<Self, PlanError> {
        let any = steps.iter().any(|step| step.services.iter().any(of_chain));
        let mut found = Self(Vec::new());
        if !any {
            return Ok(found);
        }
        found.0.resize(chains.count(), Vec::new());
        for index in order {
            let declared = &mut found.0[chains.of(*index)];
            for (position, service) in steps[index.as_usize()].services.iter().enumerate() {
                let earlier = declared.iter().find(|(step, position)| {
                    let other = &steps[step.as_usize()].services[*position];
                    other.name.eq_ignore_ascii_case(&service.name)
                });
                match earlier {
                    Some((step, position)) if steps[step.as_usize()].services[*position] == *service => {}
                    Some((step, _)) => return Err(two(steps, *index, *step, &service.name)),
                    None if of_chain(service) => declared.push((*index, position)),
                    None => {}
                }
            }
            if declared.len() > crate::MAX_NEEDS {
                return Err(too_many(steps, *index));
            }
        }
        Ok(found)
    }

    /// Those of a chain: the step that declares each, and its place among that one's services.
    pub fn of(&self, chain: usize) -> &[(StepIndex, usize)] {
        self.0.get(chain).map_or(&[], Vec::as_slice)
    }
}

pub fn of_chain(service: &Service) -> bool {
    service.scope == ServiceScope::Chain
}

fn two(steps: &[Step], index: StepIndex, earlier: StepIndex, name: &str) -> PlanError {
    PlanError::BadField {
        step: steps[index.as_usize()].key.clone(),
        field: "services",
        reason: format!(
            "step `{}` has already started another service `{name}` for the whole chain: give one of them another name",
            steps[earlier.as_usize()].key
        ),
    }
}

fn too_many(steps: &[Step], index: StepIndex) -> PlanError {
    PlanError::BadField {
        step: steps[index.as_usize()].key.clone(),
        field: "services",
        reason: format!(
            "with it its chain has more than the {} services that hm takes: give some of them the scope \"step\"",
            crate::MAX_NEEDS
        ),
    }
}
