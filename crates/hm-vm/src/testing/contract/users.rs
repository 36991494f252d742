//! Who a command runs as, and what an image says about that.

use tokio::sync::mpsc;

use super::Subject;
use super::subject::{passes, run};
use crate::{Cancel, ExecRequest, SecretValue};

/// A command runs as the user that it names, by a name of the image's or by numbers, in that user's group; it can read
/// its own secrets.
pub async fn a_command_runs_as_the_user_it_names(subject: &Subject) {
    let vm = subject.machine().await;
    assert_eq!(passes(vm.as_ref(), "id -u; id -g").await, "0\n0\n");
    let other =
        "grep -v '^root:' /etc/passwd | grep ':[1-9][0-9]*:[1-9][0-9]*:' | head -n 1 | cut -d : -f 1,3,4";
    let other = passes(vm.as_ref(), other).await;
    let fields: Vec<&str> = other.trim().split(':').collect();
    let [name, uid, gid] = fields[..] else {
        panic!("the image has no other user: {other:?}");
    };
    for (user, expected) in [
        (name.to_owned(), format!("{uid}\n{gid}\n")),
        (uid.to_owned(), format!("{uid}\n{gid}\n")),
        (format!("{uid}:0"), format!("{uid}\n0\n")),
        (format!("{name}:root"), format!("{uid}\n0\n")),
        ("1234:2345".to_owned(), "1234\n2345\n".to_owned()),
        ("1234".to_owned(), "1234\n0\n".to_owned()),
        ("root".to_owned(), "0\n0\n".to_owned()),
    ] {
        let mut request = ExecRequest::shell("id -u; id -g");
        request.user = Some(user.clone());
        let mut expected = expected;
        if subject.backend.features().secrets {
            request.argv[2] += "; cat /run/secrets/key";
            request.secrets.files = [("key".to_owned(), SecretValue::new("mine"))].into();
            expected += "mine";
        }
        let ran = run(vm.as_ref(), &request).await;
        assert_eq!(ran.out(), expected, "{user}: {ran:?}");
    }
    vm.destroy().await.expect("it is destroyed");
}

/// A user that the image does not have is a clear error, and no command runs.
pub async fn an_unknown_user_is_refused(subject: &Subject) {
    let vm = subject.machine().await;
    let mut request = ExecRequest::shell("echo ran");
    request.user = Some("no-such-user-of-hm".into());
    let (output, mut chunks) = mpsc::channel(4);
    let error = vm
        .exec(&request, output, Cancel::new())
        .await
        .expect_err("there is no such user");
    assert!(error.to_string().contains("no-such-user-of-hm"), "{error}");
    assert!(chunks.recv().await.is_none());
    vm.destroy().await.expect("it is destroyed");
}

/// What an image says about how it is run is told; one that says nothing has the default.
pub async fn an_image_says_how_it_is_run(subject: &Subject) {
    let Some((image, config)) = subject.configured() else {
        return;
    };
    let image = subject.backend.resolve(image).await.expect("the image is there");
    let said = subject.backend.image_config(&image).await.expect("it is read");
    assert_eq!(&said, config);
}
