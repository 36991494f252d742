//! What a step does not reach through its network: this machine's other addresses, and the addresses at which a cloud's
//! machines find their credentials.
//!
//! `pasta` connects to whatever its user may connect to, and has no list of what it should not. But a namespace's own routes
//! come first: an address that is local in there is never sent to pasta at all. So these addresses are made local, on the
//! very interface that leads out: a socket that is bound to it finds them local too. A step may not change routes, and may
//! not send frames past them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::parent;
use crate::linux::protocol::RESOLVER;
use crate::linux::sys::{self, Cloned};

/// Where clouds answer that are not at a link-local address: Azure, Alibaba, and Amazon and Google by IPv6.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    const fn of(address: IpAddr) -> Self {
        let bits = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, bits }
    }
}

/// Closes a namespace whose pasta is ready. A namespace without an interface has nothing to be closed.
pub(super) fn close(namespace: BorrowedFd<'_>) -> io::Result<()> {
    let failed = |error: &dyn std::fmt::Display| {
        io::Error::other(format!(
            "cannot keep this machine's own addresses out of a step's network: {error}"
        ))
    };
    let prefixes = closed();
    let (said, says) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match sys::clone_process(0)? {
        Cloned::Child => {
            parent::die_with_it();
            let words = within(namespace, &prefixes).err().map(|error| error.to_string());
            let _ = rustix::io::write(&says, words.unwrap_or_default().as_bytes());
            sys::exit_now(0)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(says);
            let mut words = String::new();
            io::Read::read_to_string(&mut std::fs::File::from(said), &mut words)?;
            let ended = rustix::process::waitid(
                rustix::process::WaitId::PidFd(pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            match ended {
                Ok(Some(status)) if status.exit_status() == Some(0) && words.is_empty() => Ok(()),
                Ok(_) if words.is_empty() => Err(failed(&"the process that does it ended early")),
                Ok(_) => Err(failed(&words)),
                Err(error) => Err(failed(&error)),
            }
        }
    }
}

/// What is closed: found anew for each namespace, for bridges and tunnels come and go.
fn closed() -> Vec<Prefix> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut prefixes = link_local();
    let own = own_ipv4(&read("/proc/self/net/fib_trie"));
    prefixes.extend(own.into_iter().map(IpAddr::V4).chain(METADATA).map(Prefix::of));
    let own = own_ipv6(&read("/proc/self/net/if_inet6"));
    prefixes.extend(own.into_iter().map(IpAddr::V6).map(Prefix::of));
    prefixes
}

/// All of 169.254.0.0/16 but the resolver: for each bit of the resolver's address, what differs there first.
fn link_local() -> Vec<Prefix> {
    let Ok(resolver) = RESOLVER.parse::<Ipv4Addr>() else {
        return Vec::new();
    };
    let split = |bits: u8| {
        let differs = u32::from(resolver) ^ (1 << (32 - bits));
        let address = differs & (u32::MAX << (32 - bits));
        Prefix {
            address: IpAddr::V4(address.into()),
            bits,
        }
    };
    (17..=32).map(split).collect()
}

/// This machine's addresses by the kernel's table of routes: each is a leaf of its tree, `host LOCAL`.
fn own_ipv4(trie: &str) -> Vec<Ipv4Addr> {
    let mut own = Vec::new();
    let mut leaf = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf.filter(|address| !address.is_loopback())
            && !own.contains(&address)
        {
            own.push(address);
        }
    }
    own
}

/// This machine's addresses by its list of them. Those of a link are another machine's in another network.
fn own_ipv6(list: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| {
        let bits = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
        Some(Ipv6Addr::from(bits))
    };
    let mut own: Vec<_> = list.lines().filter_map(address).collect();
    own.retain(|address| !address.is_loopback() && !address.is_unicast_link_local());
    own
}

/// Within the namespace, in a process that goes nowhere else afterwards.
fn within(namespace: BorrowedFd<'_>, prefixes: &[Prefix]) -> io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
    let netlink = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let names = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let table = std::fs::read_to_string("/proc/self/net/dev")?;
    let addresses = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    for name in interfaces(&table) {
        let index = rustix::net::netdevice::name_to_index(&names, name)?;
        let has_ipv6 = addresses
            .lines()
            .any(|line| line.split_whitespace().last() == Some(name));
        for prefix in prefixes {
            if prefix.address.is_ipv4() || has_ipv6 {
                make_local(netlink.as_fd(), *prefix, index)?;
            }
        }
    }
    Ok(())
}

/// The interfaces but the loopback, by `/proc/net/dev`.
fn interfaces(table: &str) -> impl Iterator<Item = &str> {
    let names = table
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.filter(|name| *name != "lo")
}

/// One request to the kernel, and its answer.
fn make_local(netlink: BorrowedFd<'_>, prefix: Prefix, interface: u32) -> io::Result<()> {
    let kernel = SocketAddrNetlink::new(0, 0);
    let request = request(prefix, interface);
    rustix::net::sendto(netlink, &request, SendFlags::empty(), &kernel)?;
    let mut answer = [0; 1024];
    let (length, _) = rustix::net::recv(netlink, &mut answer[..], RecvFlags::empty())?;
    // Behind the header of 16 bytes, the answer is an error number, negative, or 0.
    let code = answer.get(16..20).filter(|_| length >= 20);
    let code = code
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        // The interface has that very address: it is local already.
        Some(code) if -code == libc::EEXIST => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::Error::other("the kernel's answer is too short")),
    }
}

/// `RTM_NEWROUTE`: this prefix is local, on this interface.
fn request(prefix: Prefix, interface: u32) -> Vec<u8> {
    const SEQUENCE: u32 = 1;
    let (family, address) = match prefix.address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let mut body = vec![
        family as u8,
        prefix.bits,
        0,
        0,
        libc::RT_TABLE_LOCAL,
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_HOST,
        libc::RTN_LOCAL,
    ];
    body.extend_from_slice(&[0; 4]);
    for (kind, value) in [
        (libc::RTA_DST, &address[..]),
        (libc::RTA_OIF, &interface.to_ne_bytes()[..]),
    ] {
        // Every value is a multiple of four bytes long, so that nothing has to be filled up.
        body.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(value);
    }
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend_from_slice(&((16 + body.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend_from_slice(&(flags as u16).to_ne_bytes());
    message.extend_from_slice(&SEQUENCE.to_ne_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(prefixes: &[Prefix], address: Ipv4Addr) -> bool {
        prefixes.iter().any(|prefix| match prefix.address {
            IpAddr::V4(start) => (u32::from(start) ^ u32::from(address)) >> (32 - prefix.bits) == 0,
            IpAddr::V6(_) => false,
        })
    }

    #[test]
    fn link_local_addresses_are_closed_but_the_resolver() {
        let prefixes = link_local();
        for last in 0..=u16::MAX {
            let address = Ipv4Addr::from(0xa9fe_0000 | u32::from(last));
            assert_eq!(
                covers(&prefixes, address),
                address.to_string() != RESOLVER,
                "{address}"
            );
        }
        assert!(!covers(&prefixes, Ipv4Addr::new(169, 253, 0, 1)));
        assert!(!covers(&prefixes, Ipv4Addr::new(169, 255, 0, 1)));
    }

    #[test]
    fn own_addresses_are_the_local_leaves() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 172.17.0.0/16 2 0 2\n        \
                    |-- 172.17.0.0\n           /16 link UNICAST\n        |-- 172.17.0.1\n           /32 host LOCAL\n        \
                    |-- 172.17.255.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     \
                    |-- 172.17.0.1\n        /32 host LOCAL\n     |-- 10.0.2.15\n        /32 host LOCAL\n";
        let own = [Ipv4Addr::new(172, 17, 0, 1), Ipv4Addr::new(10, 0, 2, 15)];
        assert_eq!(own_ipv4(trie), own);
        let list = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fe80000000000000021122fffe334455 02 40 20 80     eth0\n\
                    20010db8000000000000000000000002 02 40 00 80     eth0\n";
        assert_eq!(own_ipv6(list), ["2001:db8::2".parse::<Ipv6Addr>().expect("one")]);
    }

    #[test]
    fn request_is_as_the_kernel_reads_it() {
        let message = request(Prefix::of(METADATA[0]), 2);
        assert_eq!(message.len(), 16 + 12 + 8 + 8);
        assert_eq!(message[..4], 44_u32.to_ne_bytes());
        assert_eq!(message[16..24], [2, 32, 0, 0, 255, 4, 254, 2]);
        assert_eq!(message[32..36], [168, 63, 129, 16]);
    }
}
