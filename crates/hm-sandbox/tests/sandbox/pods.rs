//! Networks that several commands share.

use std::time::Duration;

use hm_vm::{Cancel, ExecRequest, KillReason, Network, OutputChunk, PodId, PodRequest, VmBackend};
use tokio::sync::mpsc;

use super::persons::everyone;
use super::support::{World, run, said, sh};

everyone![
    a_pods_names_are_the_commands_alone,
    a_network_is_used_again_when_its_pod_is_closed_and_empty,
    a_pod_is_as_closed_as_a_step,
    names_that_are_none_are_refused,
    pods_end_with_the_supervisor,
];

async fn pod(world: &World, network: Network, hosts: &[&str]) -> PodId {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    world
        .backend
        .open_pod(&PodRequest { network, hosts })
        .await
        .unwrap()
}

fn within(pod: &PodId, command: &str) -> ExecRequest {
    ExecRequest {
        pod: Some(pod.clone()),
        ..ExecRequest::shell(command)
    }
}

async fn a_pods_names_are_the_commands_alone(world: &World) {
    let pod = pod(world, Network::None, &["db", "cache.local"]).await;
    let mut vm = world.machine().await;
    let look = "getent hosts db cache.local localhost | awk '{print $1}' | sort -u; tail -n 2 /etc/hosts; \
                echo 10.9.8.7 more >> /etc/hosts && getent hosts more | awk '{print $1}'";
    let ran = run(vm.as_ref(), &within(&pod, look)).await;
    let expected = "::1\n127.0.0.1 db cache.local\n::1 db cache.local\n10.9.8.7\n";
    assert_eq!(ran.out(), expected, "{}", said(&ran));
    // What a machine has in its own file is seen too, and what is not there is made.
    sh(vm.as_mut(), "echo 10.1.2.3 mine >> /etc/hosts").await;
    let ran = run(vm.as_ref(), &within(&pod, "tail -n 3 /etc/hosts")).await;
    assert_eq!(
        ran.out(),
        "10.1.2.3 mine\n127.0.0.1 db cache.local\n::1 db cache.local\n",
        "{}",
        said(&ran)
    );
    let ran = sh(vm.as_mut(), "tail -n 1 /etc/hosts; rm /etc/hosts").await;
    assert_eq!(ran.out(), "10.1.2.3 mine\n", "{}", said(&ran));
    let ran = run(vm.as_ref(), &within(&pod, "cat /etc/hosts")).await;
    assert_eq!(
        ran.out(),
        "127.0.0.1 db cache.local\n::1 db cache.local\n",
        "{}",
        said(&ran)
    );
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    let mut vm = world.backend.restore(&snapshot.id).await.unwrap();
    vm.inject(std::sync::Arc::new(hm_source::Source::empty()))
        .await
        .unwrap();
    let ran = sh(vm.as_mut(), "cat /etc/hosts").await;
    assert!(!ran.out().contains("db"), "{}", said(&ran));
    vm.destroy().await.unwrap();
    world.backend.close_pod(&pod).await.unwrap();
}

/// Which network a command is in.
const NETWORK: &str = "readlink /proc/self/ns/net";

async fn network(world: &World, pod: Option<&PodId>) -> String {
    let mut request = ExecRequest::shell(NETWORK);
    request.pod = pod.cloned();
    request.network = Network::None;
    let ran = world.run(&request).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    ran.out()
}

async fn a_network_is_used_again_when_its_pod_is_closed_and_empty(world: &World) {
    let plain = network(world, None).await;
    assert_eq!(
        network(world, None).await,
        plain,
        "one network serves one step after the other"
    );
    let first = pod(world, Network::None, &[]).await;
    assert_eq!(network(world, Some(&first)).await, plain);
    // It is the pod's as long as that is open.
    assert_eq!(network(world, Some(&first)).await, plain);
    let second = network(world, None).await;
    assert_ne!(second, plain);

    // A command goes on in a pod that is closed, and keeps its network for itself.
    let vm = world.machine().await;
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(4);
    let cancel = Cancel::new();
    let request = within(&first, "echo begun; sleep 86400");
    let others = async {
        assert!(chunks.recv().await.is_some());
        world.backend.close_pod(&first).await.unwrap();
        assert_eq!(network(world, None).await, second);
        cancel.kill();
        while chunks.recv().await.is_some() {}
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, output, cancel.clone()), others);
    assert_eq!(outcome.unwrap().killed, Some(KillReason::Canceled));
    vm.destroy().await.unwrap();
    let networks = [network(world, None).await, {
        let pod = pod(world, Network::None, &[]).await;
        let network = network(world, Some(&pod)).await;
        world.backend.close_pod(&pod).await.unwrap();
        network
    }];
    assert!(
        networks
            .iter()
            .all(|network| *network == plain || *network == second),
        "{networks:?}"
    );
}

async fn a_pod_is_as_closed_as_a_step(world: &World) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pod = pod(world, Network::None, &["db"]).await;
    let program = format!(
        "import socket\nfor host in ('127.0.0.1', 'db'):\n    try: socket.create_connection((host, {port}), 5); print('reached')\n    \
         except OSError as error: print('refused')"
    );
    let mut request = within(&pod, "");
    request.argv = ["/usr/bin/python3", "-I", "-c", &program].map(Into::into).into();
    let ran = world.run(&request).await;
    assert_eq!(ran.out(), "refused\nrefused\n", "{}", said(&ran));
    // They share a network, not processes, and not each other's signals.
    let request = within(&pod, "ls /proc | grep -c '^[0-9]'; ls /sys/class/net");
    let ran = world.run(&request).await;
    let count: u32 = ran.out().lines().next().unwrap().parse().unwrap();
    assert!(count <= 6 && ran.out().ends_with("\nlo\n"), "{}", said(&ran));
    world.backend.close_pod(&pod).await.unwrap();
}

async fn names_that_are_none_are_refused(world: &World) {
    for host in ["", "two words", "a\n10.0.0.1 evil", "a\tb", "#", &"x".repeat(300)] {
        let request = PodRequest {
            network: Network::None,
            hosts: vec![host.to_owned()],
        };
        let opened = world.backend.open_pod(&request).await;
        assert!(opened.is_err(), "{host:?}");
    }
}

async fn pods_end_with_the_supervisor(world: &World) {
    let pod = pod(world, Network::Outbound, &["db"]).await;
    let ran = world.run(&within(&pod, "echo in")).await;
    assert_eq!(ran.out(), "in\n", "{}", said(&ran));
    world.backend.shutdown().await;
    let vm = world.machine().await;
    let (output, _chunks) = mpsc::channel::<OutputChunk>(4);
    let request = within(&pod, "true");
    let ran = vm.exec(&request, output, Cancel::new());
    let ran = tokio::time::timeout(Duration::from_secs(60), ran).await.unwrap();
    assert!(ran.unwrap_err().to_string().contains("is not open"));
    vm.destroy().await.unwrap();
    world.backend.close_pod(&pod).await.unwrap();
}
