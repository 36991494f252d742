//! Opens a browser, where there is a person in front of one.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use webbrowser::{Browser, BrowserOptions};

use crate::env_vars;
use crate::environment::Environment;

/// Opens the page, and tells whether that went well; where no browser is to be seen, nothing is tried.
pub fn open(environment: &Environment, url: &str) -> bool {
    if !is_in_sight(environment) {
        return false;
    }
    let Some(program) = environment.get(env_vars::HM_BROWSER) else {
        let options = BrowserOptions::new().with_suppress_output(true).clone();
        return webbrowser::open_browser_with_options(Browser::Default, url, &options).is_ok();
    };
    let started = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at the terminal is not meant for it.
        .process_group(0)
        .spawn();
    started.is_ok()
}

/// Whether somebody would see a browser that opens on this machine.
fn is_in_sight(environment: &Environment) -> bool {
    let is_set = |names: &[&str]| names.iter().any(|name| environment.get(name).is_some());
    if is_set(&[env_vars::CI]) {
        return false;
    }
    // Whoever names one knows where it opens: editors that work on a distant machine open it on the near one.
    if is_set(&[env_vars::HM_BROWSER, env_vars::BROWSER]) {
        return true;
    }
    let is_distant = is_set(&env_vars::SSH);
    !is_distant && (cfg!(target_os = "macos") || is_set(&env_vars::DISPLAYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(variables: &[(&str, &str)]) -> bool {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        is_in_sight(&Environment::of_variables(owned))
    }

    #[test]
    fn a_browser_is_opened_where_somebody_sees_it() {
        assert!(seen(&[("DISPLAY", ":0")]));
        assert!(seen(&[("WAYLAND_DISPLAY", "wayland-0")]));
        assert!(seen(&[("BROWSER", "near.sh"), ("SSH_CONNECTION", "a 1 b 2")]));
        assert!(!seen(&[("DISPLAY", ":0"), ("SSH_CONNECTION", "a 1 b 2")]));
        assert!(!seen(&[
            ("DISPLAY", ":0"),
            ("HM_BROWSER", "firefox"),
            ("CI", "true")
        ]));
        assert_eq!(seen(&[]), cfg!(target_os = "macos"));
    }
}
