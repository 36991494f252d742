//! What a step's command may not do although it is root in there.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

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

/// Gives up for good, in this process and all that it starts, what a step must not have.
pub(super) fn confine() -> io::Result<()> {
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
    for filter in filters()? {
        seccompiler::apply_filter(filter).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Compiled once, in the supervisor; every step's process finds them in its copy of the memory.
pub(super) fn filters() -> io::Result<&'static [BpfProgram; 3]> {
    static FILTERS: std::sync::OnceLock<Result<[BpfProgram; 3], String>> = std::sync::OnceLock::new();
    let compile = || Ok([without_clone3()?, without_unknown(), refused_calls()?]);
    FILTERS
        .get_or_init(|| compile().map_err(|error: seccompiler::Error| error.to_string()))
        .as_ref()
        .map_err(|error| io::Error::other(format!("cannot compile the seccomp filter: {error}")))
}

/// Calls that no build needs and that have been the way out of containers: refused with EPERM.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_kcmp,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

fn refused_calls() -> Result<BpfProgram, seccompiler::Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let errno = |code: i32| SeccompAction::Errno(code as u32);

    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    // New namespaces by clone; clone3 hides its flags behind a pointer, so it is "unknown" and libc falls
    // back to clone.
    let namespaces = (libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP) as u64;
    let with_flag = |flag: u64| -> Result<SeccompRule, seccompiler::BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        )?])
    };
    let flags = (0..64)
        .map(|bit| 1_u64 << bit)
        .filter(|bit| namespaces & bit != 0);
    rules.insert(libc::SYS_clone, flags.map(with_flag).collect::<Result<_, _>>()?);
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
    // Sockets that are not bound by a network namespace.
    rules.insert(
        libc::SYS_socket,
        vec![SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            libc::AF_VSOCK as u64,
        )?])?],
    );
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, errno(libc::EPERM), architecture)?.try_into()?)
}

/// A second, tiny filter: `clone3` does not exist here.
fn without_clone3() -> Result<BpfProgram, seccompiler::Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let rules = std::iter::once((libc::SYS_clone3, Vec::new())).collect();
    let action = SeccompAction::Errno(libc::ENOSYS as u32);
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()?)
}

/// The first call that is not known here to be harmless, and those after it that are: `mseal`, and the four calls on
/// extended attributes by descriptor. From 424 on, numbers are the same on every architecture.
const FIRST_UNKNOWN: u32 = 457;
const MSEAL: u32 = 462;
const XATTRS: (u32, u32) = (463, 466);

/// A third one: what a newer kernel knows is unknown here until it is put on a list, and x32, where a kernel has it,
/// knows every call by another number of the same architecture.
fn without_unknown() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let number = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let more_than = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, number),
        instruction(at_least, 4, 0, X32_BIT),
        instruction(at_least, 0, 4, FIRST_UNKNOWN),
        instruction(equal, 3, 0, MSEAL),
        instruction(at_least, 0, 1, XATTRS.0),
        instruction(more_than, 0, 1, XATTRS.1),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
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
        for call in [0, 39, 425, 439, 456, 462, 463, 466] {
            assert_eq!(verdict(&program, call), libc::SECCOMP_RET_ALLOW, "{call}");
        }
        for call in [457, 461, 467, 468, 600, 0x4000_0000, 0x4000_0027, u32::MAX] {
            assert_eq!(verdict(&program, call), unknown, "{call}");
        }
    }
}
