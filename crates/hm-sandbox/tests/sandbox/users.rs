//! Commands that run as another user than root.

use hm_vm::{Cancel, ExecRequest};
use tokio::sync::mpsc;

use super::persons::everyone;
use super::support::{World, run, said};

everyone![
    a_user_that_a_step_cannot_have_is_refused_with_words,
    another_user_has_no_rights_of_roots,
    a_hostile_passwd_harms_nothing,
];

fn as_user(user: &str, command: &str) -> ExecRequest {
    ExecRequest {
        user: Some(user.into()),
        ..ExecRequest::shell(command)
    }
}

async fn error(world: &World, request: &ExecRequest) -> Option<String> {
    let vm = world.machine().await;
    let (output, _chunks) = mpsc::channel(4);
    let ran = vm.exec(request, output, Cancel::new()).await;
    vm.destroy().await.unwrap();
    ran.err().map(|error| error.to_string())
}

async fn is_alone(world: &World) -> bool {
    let ids = world.passes("cat /proc/self/uid_map").await;
    ids.split_whitespace().skip(2).eq(["1"])
}

async fn a_user_that_a_step_cannot_have_is_refused_with_words(world: &World) {
    let refused = error(world, &as_user("4294960000", "true")).await;
    if super::persons::is_root() {
        assert_eq!(refused, None);
    } else {
        let refused = refused.unwrap();
        assert!(
            refused.contains("no user 4294960000") && refused.contains("hm doctor"),
            "{refused}"
        );
    }
    let refused = error(world, &as_user("33", "true")).await;
    assert_eq!(refused.is_some(), is_alone(world).await, "{refused:?}");
    assert_eq!(error(world, &as_user("root", "true")).await, None);
    let refused = error(world, &as_user("0:no-such-group", "true")).await.unwrap();
    assert!(refused.contains("no group `no-such-group`"), "{refused}");
}

async fn another_user_has_no_rights_of_roots(world: &World) {
    if is_alone(world).await {
        return;
    }
    let command = "! echo x 2> /dev/null > /etc/not-allowed && ! cat /etc/gshadow- 2> /dev/null; \
                   grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status | grep -vc '0000000000000000$'; \
                   echo $HOME $USER; echo again > /dev/stdout; id -G";
    let mut request = as_user("nobody", command);
    let ran = world.run(&request).await;
    let home = world.passes("grep ^nobody: /etc/passwd | cut -d : -f 6").await;
    assert_eq!(
        ran.out(),
        format!("0\n{} nobody\nagain\n65534\n", home.trim()),
        "{}",
        said(&ran)
    );
    request.env.insert("HOME".into(), "/tmp".into());
    request.argv[2] = "echo $HOME".into();
    assert_eq!(world.run(&request).await.out(), "/tmp\n");
}

async fn a_hostile_passwd_harms_nothing(world: &World) {
    for (make, user) in [
        ("rm /etc/passwd && mkfifo /etc/passwd", "somebody"),
        ("rm /etc/passwd && ln -s /dev/zero /etc/passwd", "somebody"),
        ("rm /etc/passwd && mkdir /etc/passwd", "somebody"),
        (
            "echo somebody:x:0:0::../..:/bin/sh >> /etc/passwd && false",
            "nobody-at-all",
        ),
    ] {
        let vm = world.machine().await;
        run(vm.as_ref(), &ExecRequest::shell(make)).await;
        let (output, _chunks) = mpsc::channel(4);
        let request = as_user(user, "echo ran");
        let refused = vm.exec(&request, output, Cancel::new()).await.unwrap_err();
        assert!(refused.to_string().contains("the image has no user"), "{refused}");
        let ran = run(vm.as_ref(), &as_user("0", "echo as root")).await;
        assert_eq!(ran.out(), "as root\n", "{}", said(&ran));
        vm.destroy().await.unwrap();
    }
}
