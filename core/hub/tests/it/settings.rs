//! What the environment says, read as Python's `huggingface_hub` reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tlbench_hub::{HubError, Settings, Token};

fn settings(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
    let home = [("HOME", "/home/me")];
    let variables: BTreeMap<&str, &str> = home.iter().chain(variables).copied().collect();
    Settings::from_variables(&|name| variables.get(name).map(Into::into))
}

fn cache(variables: &[(&str, &str)]) -> String {
    settings(variables).unwrap().cache.display().to_string()
}

#[test]
fn where_the_cache_is() {
    let hub = |folder: &str| format!("{folder}/hub");
    assert_eq!(cache(&[]), hub("/home/me/.cache/huggingface"));
    let mut variables = vec![("XDG_CACHE_HOME", "/xdg")];
    assert_eq!(cache(&variables), hub("/xdg/huggingface"));
    variables.push(("HF_HOME", "/hf"));
    assert_eq!(cache(&variables), hub("/hf"));
    variables.push(("HUGGINGFACE_HUB_CACHE", "/old"));
    assert_eq!(cache(&variables), "/old");
    variables.push(("HF_HUB_CACHE", "/new"));
    assert_eq!(cache(&variables), "/new");
}

#[test]
fn paths_may_have_a_tilde_and_variables_in_them() {
    assert_eq!(cache(&[("HF_HOME", "~/x")]), "/home/me/x/hub");
    assert_eq!(cache(&[("HF_HOME", "~")]), "/home/me/hub");
    assert_eq!(cache(&[("HF_HOME", "~other/x")]), "~other/x/hub");
    let scratch = ("SCRATCH", "/big");
    assert_eq!(cache(&[scratch, ("HF_HUB_CACHE", "$SCRATCH/a")]), "/big/a");
    assert_eq!(
        cache(&[scratch, ("HF_HUB_CACHE", "${SCRATCH}y/$NONE/${NO}$")]),
        "/bigy/$NONE/${NO}$"
    );
}

#[test]
fn a_variable_without_content_counts_as_absent() {
    assert_eq!(cache(&[("HF_HOME", ""), ("HF_HUB_CACHE", " ")]), cache(&[]));
    let endpoint = settings(&[("HF_ENDPOINT", "")]).unwrap().endpoint;
    assert_eq!(endpoint, "https://huggingface.co");
}

#[test]
fn where_the_hub_is() {
    let endpoint = settings(&[("HF_ENDPOINT", "https://mirror.example/hub//")])
        .unwrap()
        .endpoint;
    assert_eq!(endpoint, "https://mirror.example/hub");
}

#[test]
fn an_address_that_is_none() {
    for found in ["hub.example", "ftp://hub.example", "https://"] {
        let error = settings(&[("HF_ENDPOINT", found)]).unwrap_err();
        let expected = "HF_ENDPOINT: expected an address such as https://host, found";
        assert_eq!(error.to_string(), format!("{expected} {found:?}"));
    }
}

#[test]
fn words_that_mean_offline() {
    for (word, expected) in [
        ("1", true),
        ("ON", true),
        ("yes", true),
        ("True", true),
        ("0", false),
        ("off", false),
        ("2", false),
        ("", false),
    ] {
        assert_eq!(
            settings(&[("HF_HUB_OFFLINE", word)]).unwrap().offline,
            expected,
            "{word}"
        );
    }
    assert!(settings(&[("TRANSFORMERS_OFFLINE", "1")]).unwrap().offline);
    assert!(
        !settings(&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")])
            .unwrap()
            .offline
    );
}

#[test]
fn how_long_the_hub_may_take() {
    let patience = |seconds| {
        let variables = [
            ("HF_HUB_ETAG_TIMEOUT", seconds),
            ("HF_HUB_DOWNLOAD_TIMEOUT", seconds),
        ];
        let patience = settings(&variables).unwrap().patience;
        assert_eq!(patience.answer, patience.read);
        patience.answer
    };
    assert_eq!(patience("60"), Duration::from_secs(60));
    for none in ["", "0", "soon"] {
        assert_eq!(patience(none), Duration::from_secs(10), "{none}");
    }
}

/// The header that a token makes: a token shows nothing of itself.
fn is(token: Option<&Token>, text: &str) -> bool {
    let site = crate::support::model();
    let mut test = crate::support::Test::new(&site);
    test.settings.token = token.cloned();
    test.fetch("owner/tiny").unwrap();
    site.requests()[0].headers.get("authorization") == Some(&format!("Bearer {text}"))
}

#[test]
fn whose_token_it_is() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("token"), "hf_of_home\n").unwrap();
    fs::write(path("named"), " hf_named \r\n").unwrap();
    fs::write(path("empty"), "\n").unwrap();
    let home = folder.path().display().to_string();
    let home = ("HF_HOME", home.as_str());
    let token =
        |variables: &[(&str, &str)]| settings(&[&[home], variables].concat()).unwrap().token;
    assert!(is(token(&[]).as_ref(), "hf_of_home"));
    assert!(is(
        token(&[("HF_TOKEN_PATH", &path("named"))]).as_ref(),
        "hf_named"
    ));
    assert!(is(
        token(&[("HF_TOKEN", " hf_variable\n")]).as_ref(),
        "hf_variable"
    ));
    assert!(is(
        token(&[("HUGGING_FACE_HUB_TOKEN", "hf_old")]).as_ref(),
        "hf_old"
    ));
    for none in ["empty", "missing"] {
        assert!(token(&[("HF_TOKEN_PATH", &path(none))]).is_none(), "{none}");
    }
    assert!(token(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"), ("HF_TOKEN", "hf_x")]).is_none());
}

#[test]
fn a_token_is_never_shown() {
    let token = Token::new("hf_secret").unwrap();
    assert_eq!(format!("{token:?}"), "Token(..)");
    let line = settings(&[("HF_TOKEN", "hf_secret\u{e9}")])
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(line, @"HF_TOKEN: expected a token of letters, digits and signs, found other characters in it");
}

#[test]
fn a_token_that_cannot_be_read() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).display().to_string();
    let error = settings(&[("HF_TOKEN_PATH", &folder)]).unwrap_err();
    assert!(error.to_string().contains(&folder), "{error}");
}
