//! Pods: machines that share one network.

use super::Subject;
use super::subject::{meanwhile, run};
use crate::{ExecRequest, Network, PodId, PodRequest, Snapshot, Vm};

const PORT: u16 = 7391;

fn shell(pod: Option<&PodId>, command: &str) -> ExecRequest {
    ExecRequest {
        pod: pod.cloned(),
        ..ExecRequest::shell(command)
    }
}

async fn pod(subject: &Subject, network: Network, host: &str) -> PodId {
    let hosts = vec![host.to_owned()];
    let request = PodRequest { network, hosts };
    subject.backend.open_pod(&request).await.expect("a pod")
}

async fn close(subject: &Subject, pod: &PodId) {
    subject.backend.close_pod(pod).await.expect("it is closed");
}

/// Whether a machine reaches the server at a host.
async fn reaches(subject: &Subject, vm: &dyn Vm, pod: Option<&PodId>, host: &str) -> bool {
    let probe = shell(pod, &subject.probe(host, PORT));
    run(vm, &probe).await.code() == 0
}

/// What one machine of a pod serves, the others find at localhost and at each of the pod's names; nobody else does.
pub async fn machines_of_a_pod_share_localhost(subject: &Subject) {
    if !subject.backend.features().pods {
        return;
    }
    for network in [Network::Outbound, Network::None] {
        let (ours, other) = (
            pod(subject, network, "db-of-hm").await,
            pod(subject, network, "db-of-others").await,
        );
        let (server, client, stranger) = (
            subject.machine().await,
            subject.machine().await,
            subject.machine().await,
        );
        assert!(!reaches(subject, client.as_ref(), Some(&ours), "localhost").await);
        let serve = shell(Some(&ours), &subject.serve(PORT));
        meanwhile(server.as_ref(), &serve, async {
            assert!(reaches(subject, client.as_ref(), Some(&ours), "localhost").await);
            assert!(reaches(subject, client.as_ref(), Some(&ours), "db-of-hm").await);
            // A health check is a second command of the same machine.
            assert!(reaches(subject, server.as_ref(), Some(&ours), "db-of-hm").await);
            assert!(!reaches(subject, stranger.as_ref(), Some(&other), "localhost").await);
            assert!(!reaches(subject, stranger.as_ref(), Some(&other), "db-of-others").await);
        })
        .await;
        assert!(!reaches(subject, client.as_ref(), Some(&ours), "localhost").await);
        for vm in [server, client, stranger] {
            vm.destroy().await.expect("it is destroyed");
        }
        close(subject, &ours).await;
        close(subject, &other).await;
    }
}

/// A command without a pod has a network of its own, whatever pods there are.
pub async fn a_pod_is_closed_to_others(subject: &Subject) {
    if !subject.backend.features().pods {
        return;
    }
    let pod = pod(subject, Network::Outbound, "db-of-hm").await;
    let (server, stranger) = (subject.machine().await, subject.machine().await);
    let serve = shell(Some(&pod), &subject.serve(PORT));
    meanwhile(server.as_ref(), &serve, async {
        assert!(!reaches(subject, stranger.as_ref(), None, "localhost").await);
        assert!(!reaches(subject, stranger.as_ref(), None, "127.0.0.1").await);
    })
    .await;
    for vm in [server, stranger] {
        vm.destroy().await.expect("it is destroyed");
    }
    close(subject, &pod).await;
}

/// A machine's commands may be in one pod after the other, or in none.
pub async fn a_machine_goes_from_pod_to_pod(subject: &Subject) {
    if !subject.backend.features().pods {
        return;
    }
    let (first, second) = (
        pod(subject, Network::Outbound, "first-of-hm").await,
        pod(subject, Network::Outbound, "second-of-hm").await,
    );
    let (server, client) = (subject.machine().await, subject.machine().await);
    run(client.as_ref(), &ExecRequest::shell("echo kept > kept")).await;
    let serve = shell(Some(&second), &subject.serve(PORT));
    meanwhile(server.as_ref(), &serve, async {
        assert!(!reaches(subject, client.as_ref(), Some(&first), "localhost").await);
        assert!(reaches(subject, client.as_ref(), Some(&second), "second-of-hm").await);
        assert!(!reaches(subject, client.as_ref(), None, "localhost").await);
    })
    .await;
    let kept = run(client.as_ref(), &shell(Some(&first), "cat kept")).await;
    assert_eq!(kept.out(), "kept\n");
    for vm in [server, client] {
        vm.destroy().await.expect("it is destroyed");
    }
    close(subject, &first).await;
    close(subject, &second).await;
}

/// A pod's names are the commands' of that pod, and in no snapshot.
pub async fn a_pods_names_are_in_no_snapshot(subject: &Subject) {
    if !subject.backend.features().pods {
        return;
    }
    let pod = pod(subject, Network::Outbound, "db-of-hm").await;
    let mut vm = subject.machine().await;
    let ran = run(vm.as_ref(), &shell(Some(&pod), "echo made > made")).await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    let snapshot: Snapshot = vm.snapshot().await.expect("a snapshot");
    vm.destroy().await.expect("it is destroyed");
    close(subject, &pod).await;
    let vm = subject.restored(&snapshot).await;
    let ran = run(vm.as_ref(), &ExecRequest::shell("cat made; cat /etc/hosts")).await;
    assert!(ran.out().starts_with("made\n"), "{ran:?}");
    assert!(!ran.out().contains("db-of-hm"), "{}", ran.out());
    vm.destroy().await.expect("it is destroyed");
}

/// Closing a pod twice, or one that never was, is no error; a command that names it is one.
pub async fn a_closed_pod_stays_closed(subject: &Subject) {
    if !subject.backend.features().pods {
        return;
    }
    let pod = pod(subject, Network::None, "db-of-hm").await;
    close(subject, &pod).await;
    close(subject, &pod).await;
    close(subject, &PodId("no-such-pod-of-hm".into())).await;
    let vm = subject.machine().await;
    let (output, _chunks) = tokio::sync::mpsc::channel(1);
    let ran = vm
        .exec(&shell(Some(&pod), "true"), output, crate::Cancel::new())
        .await;
    assert!(ran.is_err(), "{ran:?}");
    vm.destroy().await.expect("it is destroyed");
}
