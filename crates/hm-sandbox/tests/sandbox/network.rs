//! A step's own localhost, and what it reaches beyond.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use hm_vm::testing::skip;
use hm_vm::{Cancel, ExecRequest, Network, OutputChunk};
use tokio::sync::mpsc;

use super::persons::{everyone, in_a_network, is_root};
use super::support::{PATIENCE, World, said};

everyone![
    two_steps_bind_one_port_at_once,
    a_port_is_free_again_after_a_step,
    sockets_of_the_host_are_out_of_reach,
    no_network_means_localhost_alone,
    outbound_has_an_address_a_route_and_names,
];

const SERVER: &str = "import socket\nserver = socket.create_server(('127.0.0.1', 80))\n\
                      client = socket.create_connection(('localhost', 80))\n\
                      server.accept()[0].send(b'served')\nprint(client.recv(9).decode(), flush=True)\n";

fn python(program: &str, network: Network) -> ExecRequest {
    let mut request = ExecRequest::shell("");
    request.argv = ["/usr/bin/python3", "-I", "-c", program].map(Into::into).into();
    request.network = network;
    request
}

async fn two_steps_bind_one_port_at_once(world: &World) {
    let request = python(
        &format!("{SERVER}\nimport time\ntime.sleep(86400)"),
        Network::Outbound,
    );
    let cancel = Cancel::new();
    let mut machines = [world.machine().await, world.machine().await];
    let [first, second] = &mut machines;
    let (one, mut from_one) = mpsc::channel::<OutputChunk>(4);
    let (two, mut from_two) = mpsc::channel::<OutputChunk>(4);
    let both_serve = async {
        let said = tokio::time::timeout(PATIENCE, async { tokio::join!(from_one.recv(), from_two.recv()) });
        let (one, two) = said.await.unwrap();
        assert_eq!(&one.unwrap().bytes[..], b"served\n");
        assert_eq!(&two.unwrap().bytes[..], b"served\n");
        cancel.kill();
    };
    let (one, two, ()) = tokio::join!(
        first.exec(&request, one, cancel.clone()),
        second.exec(&request, two, cancel.clone()),
        both_serve
    );
    assert!(one.unwrap().killed.is_some() && two.unwrap().killed.is_some());
    for vm in machines {
        vm.destroy().await.unwrap();
    }
}

async fn a_port_is_free_again_after_a_step(world: &World) {
    for network in [Network::Outbound, Network::None, Network::Outbound, Network::None] {
        let ran = world.run(&python(SERVER, network)).await;
        assert_eq!(ran.out(), "served\n", "{}", said(&ran));
    }
}

async fn sockets_of_the_host_are_out_of_reach(world: &World) {
    let path = world.directory.path().join("socket");
    let _unix = UnixListener::bind(&path).unwrap();
    let name = format!("hm-test-{}", uuid::Uuid::new_v4().simple());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let local = TcpListener::bind("127.0.0.1:0").unwrap();
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let everywhere = everywhere.local_addr().unwrap().port();
    // Nothing is sent: this asks the kernel which address of the host leads out.
    let outward = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = outward
        .connect("192.0.2.1:9")
        .and_then(|()| outward.local_addr())
        .map_or_else(|_| "127.0.0.1".into(), |address| address.ip().to_string());
    let program = format!(
        "import socket\ndef tried(family, address):\n    with socket.socket(family) as s:\n        s.settimeout(5)\n        \
         try:\n            s.connect(address); print('reached', address)\n        except OSError as error: pass\n\
         tried(socket.AF_UNIX, '{path}')\ntried(socket.AF_UNIX, '\\0{name}')\n\
         tried(socket.AF_INET, ('127.0.0.1', {local}))\ntried(socket.AF_INET, ('127.0.0.1', {everywhere}))\n\
         tried(socket.AF_INET, ('{own}', {everywhere}))\n\
         gateway = [line.split()[2] for line in open('/proc/net/route') if line.split()[1] == '00000000']\n\
         for hex in gateway:\n    \
         tried(socket.AF_INET, (socket.inet_ntoa(bytes.fromhex(hex)[::-1]), {everywhere}))\n\
         tried(socket.AF_INET, ('169.254.1.1', {everywhere}))\n\
         udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         udp.sendto(b'x', ('127.0.0.1', {datagrams}))\nprint('done')",
        path = path.display(),
        local = local.local_addr().unwrap().port(),
        datagrams = datagrams.local_addr().unwrap().port(),
    );
    for network in [Network::Outbound, Network::None] {
        let ran = world.run(&python(&program, network)).await;
        assert_eq!(ran.out(), "done\n", "{}", said(&ran));
    }
    assert!(datagrams.recv(&mut [0; 8]).is_err());
    let ran = world
        .sh("ls -A /run; find / -xdev -type s; find /run /tmp /var -type s")
        .await;
    assert_eq!(ran.out(), "lock\nsecrets\n", "{}", said(&ran));
}

async fn no_network_means_localhost_alone(world: &World) {
    let mut request = ExecRequest::shell("ls /sys/class/net; tail -n +2 /proc/net/route | wc -l");
    request.network = Network::None;
    let ran = world.run(&request).await;
    assert_eq!(ran.out(), "lo\n0\n", "{}", said(&ran));
    let program = "import socket\ntry: socket.create_connection(('192.0.2.1', 9), 5)\n\
                   except OSError as error: print(error.errno)";
    let ran = world.run(&python(program, Network::None)).await;
    assert_eq!(ran.out(), format!("{}\n", libc::ENETUNREACH), "{}", said(&ran));
}

async fn outbound_has_an_address_a_route_and_names(world: &World) {
    let tun = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    let routed = std::fs::read_to_string("/proc/net/route")
        .unwrap()
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    if !std::path::Path::new("/usr/bin/pasta").exists() || tun.is_err() || !routed {
        // There is nothing to connect to.
        return;
    }
    let ran = world
        .sh("grep -c . /proc/net/dev; awk '$2 == \"00000000\"' /proc/net/route | wc -l; cat /etc/resolv.conf")
        .await;
    assert_eq!(ran.out(), "4\n1\nnameserver 169.254.1.1\n", "{}", said(&ran));
    let program = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                   s.connect(('192.0.2.1', 9))\nprint(s.getsockname()[0])";
    let ran = world.run(&python(program, Network::Outbound)).await;
    let address: std::net::Ipv4Addr = ran.out().trim().parse().unwrap();
    assert!(!address.is_loopback() && !address.is_unspecified(), "{address}");
}

/// A machine with a way out, a second address, and somebody who answers as a cloud's metadata do.
const TWO_ADDRESSES: &str = "
    ip link set lo up; ip addr add 169.254.169.254/32 dev lo; ip addr add 198.51.100.77/32 dev lo
    ip link add d0 type veth peer name d1; ip link set d1 up; ip addr add 10.9.9.1/24 dev d0; ip link set d0 up
    ip route add default via 10.9.9.2";

#[test]
fn own_addresses_and_metadata_are_refused() {
    let name = "network::own_addresses_and_metadata_are_refused";
    let needed = ["/usr/bin/pasta", "/dev/net/tun", "/usr/sbin/ip"];
    if let Some(missing) = needed.iter().find(|path| !std::path::Path::new(path).exists()) {
        skip(&format!("there is no {missing}"));
    } else if is_root() {
        in_a_network(name, TWO_ADDRESSES, async |world: &World| refused(world).await);
    } else {
        skip("only root can give this machine addresses");
    }
}

async fn refused(world: &World) {
    let listen = |address: &str| TcpListener::bind((address, 0)).unwrap();
    let listeners = ["169.254.169.254", "198.51.100.77", "10.9.9.1"].map(listen);
    let addresses: Vec<_> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap())
        .collect();
    let pairs: Vec<_> = addresses
        .iter()
        .map(|address| (address.ip().to_string(), address.port()))
        .collect();
    let program = format!(
        "import errno, os, socket\nprint(sorted(os.listdir('/sys/class/net')))\nfor device in (b'', b'd0'):\n    for address in \
         {pairs:?}:\n        with socket.socket() as s:\n            s.settimeout(5)\n            if device: \
         s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)\n            \
         print(errno.errorcode.get(s.connect_ex(address), 'reached'))\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('169.254.1.1', 53)); print(s.getsockname()[0])"
    );
    let ran = world.run(&python(&program, Network::Outbound)).await;
    let refused = "ECONNREFUSED\n".repeat(6);
    assert_eq!(
        ran.out(),
        format!("['d0', 'lo']\n{refused}10.9.9.1\n"),
        "{}",
        said(&ran)
    );
    for address in addresses {
        std::net::TcpStream::connect(address).unwrap();
    }
}
