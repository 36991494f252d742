//! The registry that the tests pull from.

use hm_oci::testing::{ImageBuilder, Layer, Registry, Throttle, push_index};

#[tokio::test]
async fn an_image_is_pushed_with_a_login_and_without() {
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("etc/greeting", "hello\n"))
        .build();
    for registry in [Registry::start(), Registry::start_with_login()] {
        let reference = image.push(&registry, "greeter:1").await;
        assert_eq!(reference, format!("{}/greeter:1", registry.address()));
        let stored = std::fs::read(registry.blob(&image.digest())).unwrap();
        assert_eq!(stored, image.manifest);
    }
}

#[tokio::test]
async fn a_registry_keeps_what_it_has_over_a_restart() {
    let other = ImageBuilder::empty().platform("linux", "s390x").build();
    let image = ImageBuilder::busybox().build();
    let mut registry = Registry::start();
    push_index(&registry, "many:1", &[&image, &other]).await;
    registry.restart();
    let way = Throttle::to(registry.address()).await;
    assert!(tokio::net::TcpStream::connect(way.address()).await.is_ok());
    assert_eq!(
        std::fs::read(registry.blob(&other.digest())).unwrap(),
        other.manifest
    );
}
