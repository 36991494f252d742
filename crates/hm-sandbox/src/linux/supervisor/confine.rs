//! What a step's command may not do although it is root in there.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

use super::calls::{NESTING, REFUSED, existing};

/// What a container engine's root has, less `mknod`: enough to install packages, change owners, switch users
/// and bind low ports, and nothing that reaches beyond the step.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Which namespaces a step may make within its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nesting {
    /// None.
    Refused,
    /// User namespaces and all that they allow, cgroup namespaces excepted: from one of these, a step that owns its cgroup's
    /// files could raise its own limits.
    WithoutCgroups,
    /// All.
    Allowed,
}

impl Nesting {
    /// What a step may that was asked to be allowed it.
    pub(super) fn of(asked: bool) -> Self {
        if !asked {
            return Self::Refused;
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if delegates_namespaces(&mounts) {
            Self::Allowed
        } else {
            Self::WithoutCgroups
        }
    }

    /// The flags of `clone` that are refused.
    fn refused(self) -> i32 {
        match self {
            Self::Refused => {
                libc::CLONE_NEWUSER
                    | libc::CLONE_NEWNS
                    | libc::CLONE_NEWPID
                    | libc::CLONE_NEWNET
                    | libc::CLONE_NEWIPC
                    | libc::CLONE_NEWUTS
                    | libc::CLONE_NEWCGROUP
            }
            Self::WithoutCgroups => libc::CLONE_NEWCGROUP,
            Self::Allowed => 0,
        }
    }
}

/// Whether every cgroup file system that there is keeps the limits of a cgroup namespace's root from those within.
fn delegates_namespaces(mounts: &str) -> bool {
    let mut hierarchies = mounts.lines().filter_map(|line| {
        let mut fields = line.split_once(" - ")?.1.split(' ');
        let kind = fields.next()?;
        kind.starts_with("cgroup").then(|| {
            kind == "cgroup2"
                && fields
                    .nth(1)
                    .is_some_and(|options| options.contains("nsdelegate"))
        })
    });
    hierarchies.all(|delegates| delegates)
}

/// Gives up for good, in this process and all that it starts, what a step must not have.
pub(super) fn confine(nesting: Nesting) -> io::Result<()> {
    for capability in (CapabilitySet::all() - KEPT).iter() {
        // A kernel that does not know a capability cannot give it either.
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sets = CapabilitySets {
        effective: KEPT,
        permitted: KEPT,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)?;
    for filter in filters(nesting)? {
        seccompiler::apply_filter(filter).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Compiled once for each kind, in the supervisor; every step's process finds them in its copy of the memory.
pub(super) fn filters(nesting: Nesting) -> io::Result<&'static [BpfProgram; 2]> {
    static FILTERS: [std::sync::OnceLock<Result<[BpfProgram; 2], String>>; 3] =
        [const { std::sync::OnceLock::new() }; 3];
    let compile = || Ok([without_unknown(), refused_calls(nesting)?]);
    let slot = match nesting {
        Nesting::Refused => &FILTERS[0],
        Nesting::WithoutCgroups => &FILTERS[1],
        Nesting::Allowed => &FILTERS[2],
    };
    slot.get_or_init(|| compile().map_err(|error: seccompiler::Error| error.to_string()))
        .as_ref()
        .map_err(|error| io::Error::other(format!("cannot compile the seccomp filter: {error}")))
}

fn refused_calls(nesting: Nesting) -> Result<BpfProgram, seccompiler::Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let errno = |code: i32| SeccompAction::Errno(code as u32);

    let nested: &[i64] = match nesting {
        Nesting::Refused => NESTING,
        Nesting::WithoutCgroups | Nesting::Allowed => &[],
    };
    let refused = REFUSED.iter().chain(nested);
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        refused.map(|call| (*call, Vec::new())).collect();
    // New namespaces by clone; clone3 hides its flags behind a pointer, so it does not exist and libc falls back to clone.
    let flags = nesting.refused() as u64;
    let with_flag = |flag: u64| -> Result<SeccompRule, seccompiler::BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        )?])
    };
    let with_any = || -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
        let bits = (0..64).map(|bit| 1_u64 << bit).filter(|bit| flags & bit != 0);
        bits.map(with_flag).collect()
    };
    if flags != 0 {
        rules.insert(libc::SYS_clone, with_any()?);
        if nesting != Nesting::Refused {
            rules.insert(libc::SYS_unshare, with_any()?);
        }
    }
    // Keys pushed into somebody's terminal.
    let terminal = |request: u64| -> Result<SeccompRule, seccompiler::BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(
            1,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            request,
        )?])
    };
    rules.insert(
        libc::SYS_ioctl,
        vec![terminal(libc::TIOCSTI)?, terminal(libc::TIOCLINUX)?],
    );
    // Sockets that are not bound by a network namespace, or by its routes.
    let family = |family: i32| -> Result<SeccompRule, seccompiler::BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            family as u64,
        )?])
    };
    rules.insert(
        libc::SYS_socket,
        vec![family(libc::AF_VSOCK)?, family(libc::AF_PACKET)?],
    );
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, errno(libc::EPERM), architecture)?.try_into()?)
}

/// A filter for the calls that do not exist in a step. x32, where a kernel has it, knows every call by another number of the
/// same architecture, none of which exists here either. Another architecture's calls are the other filter's to end.
fn without_unknown() -> BpfProgram {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let number = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let more_than = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let load = instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, number);
    let answer = |answer: u32| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, answer);
    let mut program = vec![load];
    for (first, last) in existing() {
        program.push(instruction(at_least, 0, 2, first));
        program.push(instruction(more_than, 1, 0, last));
        program.push(answer(libc::SECCOMP_RET_ALLOW));
    }
    program.push(answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program makes of a call: a machine for the instructions that it has.
    fn verdict(program: &BpfProgram, call: u32) -> u32 {
        let mut at = 0;
        loop {
            let next = &program[at];
            let code = u32::from(next.code);
            at += 1;
            if code & 7 == libc::BPF_RET {
                return next.k;
            }
            if code & 7 == libc::BPF_JMP {
                let holds = match code & 0xf0 {
                    libc::BPF_JGE => call >= next.k,
                    libc::BPF_JGT => call > next.k,
                    _ => call == next.k,
                };
                at += usize::from(if holds { next.jt } else { next.jf });
            }
        }
    }

    #[test]
    fn unknown_calls_are_not_implemented() {
        let program = without_unknown();
        let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        let named =
            [libc::SYS_read, libc::SYS_execve, libc::SYS_futex, libc::SYS_mount].map(|call| call as u32);
        for call in named.into_iter().chain([425, 439, 452, 456, 457, 462, 463, 466]) {
            assert_eq!(verdict(&program, call), libc::SECCOMP_RET_ALLOW, "{call}");
        }
        let clone3 = libc::SYS_clone3 as u32;
        for call in [
            clone3,
            459,
            461,
            467,
            468,
            600,
            0x4000_0000,
            0x4000_0027,
            u32::MAX,
        ] {
            assert_eq!(verdict(&program, call), unknown, "{call}");
        }
    }

    #[test]
    fn filter_answers_as_its_ranges_say() {
        let (program, ranges) = (without_unknown(), existing());
        for call in 0..1024 {
            let exists = ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&call));
            let allowed = verdict(&program, call) == libc::SECCOMP_RET_ALLOW;
            assert_eq!(allowed, exists, "{call}");
        }
    }

    #[test]
    fn cgroup_namespace_is_allowed_where_it_keeps_limits() {
        let unified =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        let plain = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let old = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert!(delegates_namespaces(unified));
        assert!(delegates_namespaces("25 1 0:5 / /proc rw - proc proc rw\n"));
        assert!(!delegates_namespaces(plain));
        assert!(!delegates_namespaces(&format!("{unified}{old}")));
    }
}
