//! Pods: network slots that several commands are in at once.

use std::collections::BTreeMap;
use std::io;

use super::network::{Slot, Slots};
use hm_vm::Network;

#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<u64, Pod>);

#[derive(Debug)]
struct Pod {
    network: Network,
    hosts: Vec<String>,
    /// Taken when the first command wants it.
    slot: Option<Slot>,
    commands: usize,
    closed: bool,
}

impl Pods {
    pub(super) fn open(&mut self, id: u64, network: Network, hosts: Vec<String>) {
        let pod = Pod {
            network,
            hosts,
            slot: None,
            commands: 0,
            closed: false,
        };
        self.0.insert(id, pod);
    }

    /// Gives a pod up: its slot, when no command is in it any more.
    pub(super) fn close(&mut self, id: u64) -> Option<Slot> {
        self.0.get_mut(&id)?.closed = true;
        self.remove_when_over(id)
    }

    /// Lets a command in; `None` while the pod's slot is being made.
    pub(super) fn join(&mut self, id: u64, slots: &mut Slots) -> Option<io::Result<()>> {
        let Some(pod) = self.0.get_mut(&id).filter(|pod| !pod.closed) else {
            return Some(Err(io::Error::other("its pod is closed")));
        };
        if pod.slot.is_none() {
            match slots.take(pod.network)? {
                Ok(slot) => pod.slot = Some(slot),
                Err(error) => return Some(Err(error)),
            }
        }
        pod.commands += 1;
        Some(Ok(()))
    }

    /// A command has ended; gives the slot when it was a closed pod's last.
    pub(super) fn leave(&mut self, id: u64) -> Option<Slot> {
        let pod = self.0.get_mut(&id)?;
        pod.commands = pod.commands.saturating_sub(1);
        self.remove_when_over(id)
    }

    /// The slot and the names of a pod that a command has joined.
    pub(super) fn get(&self, id: u64) -> Option<(&Slot, &[String])> {
        let pod = self.0.get(&id)?;
        Some((pod.slot.as_ref()?, &pod.hosts))
    }

    /// How many will want a slot with connections out.
    pub(super) fn wanting(&self) -> usize {
        let wants = |pod: &&Pod| pod.slot.is_none() && !pod.closed && pod.network == Network::Outbound;
        self.0.values().filter(wants).count()
    }

    fn remove_when_over(&mut self, id: u64) -> Option<Slot> {
        if self.0.get(&id).is_some_and(|pod| pod.closed && pod.commands == 0) {
            return self.0.remove(&id)?.slot;
        }
        None
    }
}
