//! Images into a registry.

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};

use super::{BuiltImage, Registry, digest, index};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl BuiltImage {
    /// Pushes it under a name (`name:tag`) and returns the reference to pull it by.
    ///
    /// # Panics
    /// When the registry refuses it.
    pub async fn push(&self, registry: &Registry, name: &str) -> String {
        let (client, reference) = client(registry, name).await;
        self.push_to(&client, &reference).await;
        put_manifest(&client, &reference, &self.manifest, MANIFEST).await;
        reference.whole()
    }

    async fn push_to(&self, client: &Client, reference: &Reference) {
        for blob in self.blobs() {
            let digest = digest(blob);
            if client
                .blob_exists(reference, &digest)
                .await
                .is_ok_and(|there| there)
            {
                continue;
            }
            let pushed = client
                .push_blob(reference, bytes::Bytes::copy_from_slice(blob), &digest)
                .await;
            assert!(pushed.is_ok(), "{pushed:?}");
        }
    }
}

/// Pushes images for several platforms under one name, and returns the reference to pull them by.
///
/// # Panics
/// When the registry refuses them.
pub async fn push_index(registry: &Registry, name: &str, images: &[&BuiltImage]) -> String {
    let (client, reference) = client(registry, name).await;
    for image in images {
        image.push_to(&client, &reference).await;
        let by_digest = reference.clone_with_digest(image.digest());
        put_manifest(&client, &by_digest, &image.manifest, MANIFEST).await;
    }
    put_manifest(&client, &reference, &index(images), INDEX).await;
    reference.whole()
}

async fn put_manifest(client: &Client, reference: &Reference, bytes: &[u8], kind: &'static str) {
    let kind = kind.parse().expect("it is a header's value");
    let pushed = client.push_manifest_raw(reference, bytes.to_vec(), kind).await;
    assert!(pushed.is_ok(), "{pushed:?}");
}

async fn client(registry: &Registry, name: &str) -> (Client, Reference) {
    let reference: Reference = registry.reference(name).parse().expect("a reference");
    let client = Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    });
    let auth = match registry.credentials() {
        Some((user, password)) => RegistryAuth::Basic(user.into(), password.into()),
        None => RegistryAuth::Anonymous,
    };
    let authorized = client.auth(&reference, &auth, RegistryOperation::Push).await;
    assert!(authorized.is_ok(), "{authorized:?}");
    (client, reference)
}
