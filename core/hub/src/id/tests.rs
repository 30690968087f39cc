//! What names a model of the Hub, and what is said of what does not.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_a_model() {
    for (text, owner, name, revision) in [
        ("a/b", Some("a"), "b", "main"),
        ("old", None, "old", "main"),
        ("old@v1.0", None, "old", "v1.0"),
        (
            "a-b_c.d/e.F-3@refs/pr/12",
            Some("a-b_c.d"),
            "e.F-3",
            "refs/pr/12",
        ),
    ] {
        let id: HubId = text.parse().unwrap();
        assert_eq!(
            (id.owner.as_deref(), id.name(), id.revision().as_str()),
            (owner, name, revision)
        );
    }
}

#[test]
fn what_is_none() {
    let long = "a".repeat(MAX_ID_LENGTH + 1);
    let texts = [
        "",
        "/b",
        "a/",
        "a/b/c",
        "models/a/b@main",
        &long,
        "a b/c",
        "a/b\n",
        "-a/b",
        "a/b.",
        "../b",
        "a/b--c",
        "a/b..c",
        "a/b.git",
        "a/b@",
        "a/b@v 1",
        "a/b@../c",
        "a/b@x/../../y",
        "a/b@/x",
        "a/b@x//y",
        "a/b@-x",
        "a/b@.hidden",
        "a/b@x@y",
    ];
    let errors: Vec<String> = texts
        .iter()
        .map(|text| text.parse::<HubId>().unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_full_hash_is_a_commit_and_a_part_of_one_is_none() {
    let commit = |text: &str| text.parse::<HubId>().unwrap().revision().as_commit();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    assert_eq!(commit(&format!("a/b@{hash}")).unwrap().as_str(), hash);
    assert_eq!(commit(&format!("a/b@{}", &hash[..39])), None);
    assert_eq!(commit(&format!("a/b@{}", hash.to_uppercase())), None);
    assert_eq!(commit("a/b"), None);
}

proptest! {
    #[test]
    fn an_id_reads_back_as_itself(
        owner in proptest::option::of("[a-zA-Z0-9]{1,20}(_[a-zA-Z0-9]{1,20})?"),
        name in "[a-zA-Z0-9]{1,20}([-._][a-zA-Z0-9]{1,20})?",
        revision in proptest::option::of("[a-z0-9]{1,9}(/[a-z0-9]{1,9}){0,3}"),
    ) {
        let owned = owner.map_or_else(String::new, |owner| format!("{owner}/"));
        let at = revision.map_or_else(String::new, |revision| format!("@{revision}"));
        let text = format!("{owned}{name}{at}");
        prop_assume!(!name.ends_with(".git"));
        let id: HubId = text.parse().unwrap();
        prop_assert!(id.to_string().starts_with(&text));
        prop_assert_eq!(id.to_string().parse::<HubId>().unwrap(), id);
    }

    /// Ids become paths and URLs: neither may lead elsewhere.
    #[test]
    fn whatever_is_taken_for_an_id_stays_where_it_is_put(text in "[a-zA-Z0-9/@.\\-_ %?#:\\\\]{0,40}") {
        if let Ok(id) = text.parse::<HubId>() {
            let parts = format!("{}/{}", id.repository(), id.revision());
            for part in parts.split('/') {
                prop_assert!(!part.is_empty() && part != "." && part != "..", "{}", id);
            }
            prop_assert!(!parts.contains([' ', '%', '?', '#', ':', '\\', '@']), "{}", id);
            prop_assert_eq!(id.to_string().parse::<HubId>().unwrap(), id);
        }
    }
}
