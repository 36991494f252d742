//! Which registries know this user. Names alone: no secret is read, no helper is asked.

use super::{Finding, Health};
use crate::context::Context;
use crate::credentials::{Found, Logins};

/// What each file of credentials says; nothing where there is none.
pub(super) fn look(context: &Context) -> Vec<Finding> {
    let printer = context.printer;
    let logins = Logins::new(&context.environment, move |words| printer.warning(words));
    logins.survey().into_iter().map(finding).collect()
}

fn finding(found: Found) -> Finding {
    let file = found.file.display();
    let name = "registry logins".to_owned();
    if let Some(wrong) = found.wrong {
        return Finding {
            name,
            status: Health::Degraded,
            detail: format!("{wrong}: its credentials are not used"),
            fix: Some("docker login".to_owned()),
        };
    }
    let mut registries = found.registries;
    registries.sort();
    registries.extend(
        found
            .store
            .map(|store| format!("all that docker-credential-{store} knows")),
    );
    let known = if registries.is_empty() {
        "none".to_owned()
    } else {
        registries.join(", ")
    };
    Finding {
        name,
        status: Health::Ok,
        detail: format!("{known} ({file})"),
        fix: None,
    }
}
