//! Which class is asked.

use serde_json::json;
use tlbench_sdk::{ErrorKind, Role};

use crate::options::{Api, split};

#[test]
fn the_class_is_named_and_the_rest_is_for_the_python() {
    let options = json!({"api": "bridge", "python": "/a"});
    let (apis, rest) = split(options.as_object().unwrap(), Role::Reference).unwrap();
    assert_eq!(apis, [Api::Bridge]);
    assert_eq!(json!(rest), json!({"python": "/a"}));
}

#[test]
fn without_a_name_it_is_the_best_for_the_role() {
    let best = |role| split(&serde_json::Map::new(), role).unwrap().0;
    assert_eq!(best(Role::Reference), [Api::Hooked, Api::Bridge]);
    assert_eq!(best(Role::Subject), [Api::Bridge, Api::Hooked]);
    assert_eq!(best(Role::ExactSubject), best(Role::Subject));
}

#[test]
fn another_class_is_refused() {
    for (found, expected) in [
        (
            json!("gpt"),
            r#"the option `api` of transformer-lens is "hooked" or "bridge", not "gpt""#,
        ),
        (
            json!(4),
            r#"the option `api` of transformer-lens is "hooked" or "bridge", not 4"#,
        ),
    ] {
        let options = serde_json::Map::from_iter([("api".to_owned(), found)]);
        let error = split(&options, Role::Subject).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput);
        assert_eq!(error.message, expected);
    }
}
