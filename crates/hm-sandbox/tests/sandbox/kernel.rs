//! What a step must not ask of the kernel.

use super::persons::everyone;
use super::support::{World, said};

everyone![
    dangerous_system_calls_are_refused,
    other_call_conventions_are_no_way_around,
    calls_that_are_not_listed_do_not_exist,
    ordinary_programs_run,
    nothing_is_mounted,
    the_kernels_settings_are_read_only,
    the_hosts_memory_is_hidden,
    setuid_programs_give_nothing,
    capabilities_are_few,
    a_chroot_leads_nowhere,
    the_first_process_cannot_be_traced,
    a_terminal_cannot_be_typed_into,
];

/// Calls with all-zero arguments that must be refused before the kernel looks at the arguments.
const CALLS: &[(&str, i64)] = &[
    ("acct", libc::SYS_acct),
    ("add_key", libc::SYS_add_key),
    ("bpf", libc::SYS_bpf),
    ("clock_settime", libc::SYS_clock_settime),
    ("delete_module", libc::SYS_delete_module),
    ("finit_module", libc::SYS_finit_module),
    ("fsopen", libc::SYS_fsopen),
    ("init_module", libc::SYS_init_module),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("kexec_load", libc::SYS_kexec_load),
    ("keyctl", libc::SYS_keyctl),
    ("mount", libc::SYS_mount),
    ("move_mount", libc::SYS_move_mount),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("open_tree", libc::SYS_open_tree),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("pivot_root", libc::SYS_pivot_root),
    ("reboot", libc::SYS_reboot),
    ("request_key", libc::SYS_request_key),
    ("setns", libc::SYS_setns),
    ("swapon", libc::SYS_swapon),
    ("syslog", libc::SYS_syslog),
    ("umount2", libc::SYS_umount2),
    ("unshare", libc::SYS_unshare),
    ("userfaultfd", libc::SYS_userfaultfd),
];

pub fn calls(numbers: &[i64]) -> String {
    format!(
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nzero = ctypes.c_long(0)\nfor number in {numbers:?}:\n    \
         ctypes.set_errno(0)\n    result = libc.syscall(ctypes.c_long(number), zero, zero, zero, zero, zero, zero)\n    \
         print(number, result, ctypes.get_errno())\n"
    )
}

async fn dangerous_system_calls_are_refused(world: &World) {
    let numbers: Vec<_> = CALLS.iter().map(|(_, number)| *number).collect();
    let ran = world.python(&calls(&numbers)).await;
    let expected: String = numbers
        .iter()
        .map(|number| format!("{number} -1 {}\n", libc::EPERM))
        .collect();
    assert_eq!(ran.out(), expected, "{}", said(&ran));
    // Each namespace by clone, whose first argument is the flags; and by clone3, which is not there.
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ] {
        let program = format!(
            "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n\
             result = libc.syscall({}, {}, 0, 0, 0, 0)\nif result == 0: os._exit(0)\n\
             print(result, ctypes.get_errno())",
            libc::SYS_clone,
            flag | libc::SIGCHLD
        );
        let ran = world.python(&program).await;
        assert_eq!(
            ran.out(),
            format!("-1 {}\n", libc::EPERM),
            "{flag:x}: {}",
            said(&ran)
        );
    }
    let ran = world.python(&calls(&[libc::SYS_clone3])).await;
    let expected = format!("{} -1 {}\n", libc::SYS_clone3, libc::ENOSYS);
    assert_eq!(ran.out(), expected, "{}", said(&ran));
    for family in ["AF_VSOCK, socket.SOCK_STREAM", "AF_PACKET, socket.SOCK_RAW"] {
        let program = format!("import socket\nsocket.socket(socket.{family})");
        let ran = world.python(&program).await;
        assert!(said(&ran).contains("PermissionError"), "{family}: {}", said(&ran));
    }
}

async fn calls_that_are_not_listed_do_not_exist(world: &World) {
    // lsm_get_self_attr and lsm_list_modules, one that is newer than any list, and one that no kernel has.
    let mut numbers = vec![459, 461, 469, 1000];
    #[cfg(target_arch = "x86_64")]
    numbers.extend([libc::SYS_uselib, libc::SYS_ustat, libc::SYS_sysfs]);
    let ran = world.python(&calls(&numbers)).await;
    let expected: String = numbers
        .iter()
        .map(|number| format!("{number} -1 {}\n", libc::ENOSYS))
        .collect();
    assert_eq!(ran.out(), expected, "{}", said(&ran));
}

/// A bit of everything that builds do: a call that is missing from the list breaks one of these.
async fn ordinary_programs_run(world: &World) {
    for command in [
        "printf 'int main(void) { return 0; }' > a.c && gcc -O1 -pthread -o a a.c && ./a",
        "printf 'all: b c\\nb c:\\n\\tsleep 0.1; touch $@\\n' > Makefile && make -j2 && ls b c",
        "git init -q g && cd g && echo x > x && git add . && git -c user.name=a -c user.email=a@b commit -q -m x && git gc -q",
        "tar -cf - /usr/share/perl5 2>/dev/null | gzip | gunzip | tar -tf - | sort -r | tail -1 | grep .",
        "perl -e 'use POSIX; fork or exit 3; wait; exit($? >> 8 == 3 ? 0 : 1)'",
        "touch f && flock f true && timeout 5 nice true && setarch -R true && chroot / true && mkfifo p && cp -a p q",
        "python3 -c 'import threading, subprocess, multiprocessing as m, sqlite3, mmap, selectors, tempfile, os, socket, signal\n\
         t = threading.Thread(target=lambda: sqlite3.connect(\":memory:\")); t.start(); t.join()\n\
         subprocess.run([\"true\"], check=True); mmap.mmap(-1, 4096); selectors.DefaultSelector()\n\
         p = m.get_context(\"spawn\").Semaphore(1); p.acquire(); m.shared_memory if False else None\n\
         os.posix_spawn(\"/bin/true\", [\"true\"], os.environ); os.wait(); os.memfd_create(\"x\"); os.pidfd_open(os.getpid())\n\
         os.copy_file_range(os.open(\"/bin/true\", 0), os.open(\"t\", os.O_CREAT | os.O_RDWR), 10); os.sched_getaffinity(0)\n\
         a, b = socket.socketpair(); a.sendmsg([b\"x\"]); b.recvmsg(1); signal.setitimer(signal.ITIMER_REAL, 9)'",
        "! command -v node || node -e 'require(\"worker_threads\"); setTimeout(() => process.exit(0), 10)'",
        "! command -v go || GOFLAGS=-mod=mod go version",
    ] {
        world.passes(command).await;
    }
}

#[cfg(target_arch = "x86_64")]
async fn other_call_conventions_are_no_way_around(world: &World) {
    // x32: the same calls by other numbers.
    const X32: i64 = 0x4000_0000;
    let numbers = [libc::SYS_getpid, libc::SYS_unshare, libc::SYS_mount].map(|number| number | X32);
    let ran = world.python(&calls(&numbers)).await;
    for line in ran.out().lines() {
        assert!(line.contains(" -1 "), "{}", said(&ran));
    }
    assert_eq!(ran.out().lines().count(), numbers.len(), "{}", said(&ran));
    // i386: `mov eax, 20 (getpid); int 0x80; ret`.
    let program = "import ctypes, mmap\n\
                   code = mmap.mmap(-1, 4096, prot=7)\n\
                   code.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))\n\
                   address = ctypes.addressof(ctypes.c_char.from_buffer(code))\n\
                   print('pid', ctypes.CFUNCTYPE(ctypes.c_int)(address)())";
    let ran = world.python(program).await;
    assert!(!ran.out().contains("pid"), "{}", said(&ran));
}

#[cfg(not(target_arch = "x86_64"))]
async fn other_call_conventions_are_no_way_around(world: &World) {
    let ran = world.python(&calls(&[libc::SYS_unshare])).await;
    assert!(ran.out().contains(" -1 "), "{}", said(&ran));
}

async fn nothing_is_mounted(world: &World) {
    for command in [
        "mount -t tmpfs none /mnt",
        "mount --bind /etc /mnt",
        "mount -o remount,rw /",
        "mount -o remount,bind,rw ~/.cargo/bin",
        "umount /proc",
        "umount ~/.cargo/bin",
        "umount -l /etc",
        "unshare -m true",
        "unshare -U true",
        "unshare -Ur mount -t tmpfs none /mnt",
        "unshare -n true",
        "nsenter -t 1 -m true",
        "modprobe dummy",
        "dmesg",
        "hostname other",
        "date -s 2001-01-01",
    ] {
        world.fails(&format!("mkdir -p /mnt; {command}")).await;
    }
}

async fn the_kernels_settings_are_read_only(world: &World) {
    let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    for file in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/shmmax",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/fs/file-max",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/class/net/lo/mtu",
    ] {
        world.fails(&format!("test -e {file} && echo 1 > {file}")).await;
    }
    assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), pattern);
}

async fn the_hosts_memory_is_hidden(world: &World) {
    let ran = world
        .sh("for file in /proc/kcore /dev/mem /dev/kmem /dev/port /dev/kmsg /proc/kmsg /proc/kpageflags /proc/vmcore; do \
             head -c 16 $file; done 2>/dev/null | wc -c")
        .await;
    assert_eq!(ran.out(), "0\n", "{}", said(&ran));
    let ran = world.sh("grep -v '^0* ' /proc/kallsyms | head -3").await;
    assert_eq!(ran.out(), "", "{}", said(&ran));
}

async fn setuid_programs_give_nothing(world: &World) {
    let status = world
        .passes("grep -E 'NoNewPrivs|Seccomp:' /proc/self/status")
        .await;
    assert_eq!(status, "NoNewPrivs:\t1\nSeccomp:\t2\n");
    let command = "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && stat -c %a /tmp/id";
    assert_eq!(world.passes(command).await, "4755\n");
}

async fn capabilities_are_few(world: &World) {
    let status = world.passes("grep Cap /proc/self/status").await;
    let sets: std::collections::BTreeMap<_, _> = status
        .lines()
        .map(|line| {
            let (name, bits) = line.split_once(":\t").unwrap();
            (name, u64::from_str_radix(bits, 16).unwrap())
        })
        .collect();
    // Not one of: DAC_READ_SEARCH, NET_ADMIN, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT,
    // SYS_TIME, SYS_TTY_CONFIG, MKNOD, MAC_ADMIN, SYSLOG, PERFMON, BPF, CHECKPOINT_RESTORE.
    let never: u64 = [2, 12, 16, 17, 19, 21, 22, 25, 26, 27, 33, 34, 38, 39, 40]
        .iter()
        .map(|bit| 1_u64 << bit)
        .sum();
    for (name, bits) in &sets {
        assert_eq!(bits & never, 0, "{name} {bits:x}");
    }
    assert_ne!(sets["CapEff"], 0);
    assert_eq!((sets["CapInh"], sets["CapAmb"]), (0, 0));
}

async fn a_chroot_leads_nowhere(world: &World) {
    let secret = world.home.join(".ssh/id_ed25519");
    let program = format!(
        "import os\nos.makedirs('/tmp/jail', exist_ok=True)\nroot = os.open('/', os.O_RDONLY)\n\
         os.chroot('/tmp/jail')\nos.fchdir(root)\n\
         for _ in range(64): os.chdir('..')\nos.chroot('.')\n\
         print(os.path.exists('{}'), os.path.exists('/workspace'), os.path.exists('/work'))",
        secret.display()
    );
    let ran = world.python(&program).await;
    assert_eq!(ran.out(), "False True False\n", "{}", said(&ran));
}

async fn the_first_process_cannot_be_traced(world: &World) {
    const ATTACH: i32 = 16;
    let program = format!(
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n\
         print(libc.ptrace({ATTACH}, 1, 0, 0), ctypes.get_errno())"
    );
    let ran = world.python(&program).await;
    assert_eq!(ran.out(), format!("-1 {}\n", libc::EPERM), "{}", said(&ran));
    world.fails("cat /proc/1/environ").await;
    // It cannot be killed either: the step goes on.
    assert_eq!(
        world.passes("kill -9 1; kill -TERM 1; echo alive").await,
        "alive\n"
    );
}

async fn a_terminal_cannot_be_typed_into(world: &World) {
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        let program = format!(
            "import fcntl\ntry:\n    fcntl.ioctl(0, {request}, b'x')\nexcept OSError as error:\n    print(error.errno)"
        );
        let ran = world.python(&program).await;
        assert_eq!(ran.out(), format!("{}\n", libc::EPERM), "{}", said(&ran));
    }
}
