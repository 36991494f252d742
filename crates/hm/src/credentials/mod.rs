//! What registries are shown: read here alone, from Docker's and Podman's own files and from their credential
//! helpers, and only once a registry asks. No secret is in a message or in a `Debug` form.

mod file;
mod helper;
mod logins;
#[cfg(test)]
#[path = "tests.rs"]
mod lookups;

pub use file::{AuthFile, docker_directory};
pub use logins::{Found, Logins};

/// What a registry is called in these files: the Docker Hub has many names.
fn canonical(name: &str) -> &str {
    let host = name
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .trim_end_matches("/v1")
        .trim_end_matches("/v2");
    match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        host => host,
    }
}

/// What a credential helper calls it.
fn server_address(registry: &str) -> &str {
    match canonical(registry) {
        "docker.io" => "https://index.docker.io/v1/",
        _ => registry,
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical, server_address};

    #[test]
    fn the_names_of_one_registry_are_one() {
        for (written, name) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://registry.example.org/v2/", "registry.example.org"),
            ("localhost:5000", "localhost:5000"),
            ("quay.io/organization", "quay.io/organization"),
        ] {
            assert_eq!(canonical(written), name, "{written}");
        }
        assert_eq!(server_address("docker.io"), "https://index.docker.io/v1/");
        assert_eq!(server_address("localhost:5000"), "localhost:5000");
    }
}
