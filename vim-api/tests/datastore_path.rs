//! Names of files on datastores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use vim_api::DatastorePath;

fn read(text: &str) -> DatastorePath {
    text.parse().unwrap()
}

#[test]
fn names_are_taken_apart_and_put_together() {
    let file = read("[San 1] web 01/web%2f01.vmx");
    assert_eq!((file.datastore(), file.path()), ("San 1", "web 01/web%2f01.vmx"));
    assert_eq!(file.file_name(), Some("web%2f01.vmx"));
    let folder = file.parent().unwrap();
    assert_eq!(folder.to_string(), "[San 1] web 01");
    assert_eq!(folder.join("web%2f01.vmx").unwrap(), file);
    let root = folder.parent().unwrap();
    assert_eq!((root.to_string().as_str(), root.file_name(), root.parent()), ("[San 1]", None, None));
    assert_eq!(root.join("a").unwrap().to_string(), "[San 1] a");
    // As a search gives folders, with and without a space behind the bracket.
    for text in ["[ds] dir/", "[ds] dir"] {
        assert_eq!(read(text).path(), "dir");
    }
    assert_eq!(read("[ds] "), read("[ds]"));
}

#[test]
fn brackets_in_names_are_told_from_the_ones_around_them() {
    for (text, datastore, path) in [
        ("[a [b] c] f.vmdk", "a [b] c", "f.vmdk"),
        ("[a]b] f", "a]b", "f"),
        ("[a[b] f [1]", "a[b", "f [1]"),
        ("[ds] f] g", "ds", "f] g"),
    ] {
        let read = read(text);
        assert_eq!((read.datastore(), read.path()), (datastore, path));
        assert_eq!(read.to_string(), text);
    }
    // "[a] b] f" would be read as the file "b] f" of "a".
    assert!(DatastorePath::new("a] b", "f").unwrap_err().to_string().contains("rename it"));
}

#[test]
fn what_is_no_path_is_refused() {
    for text in [
        "",
        "ds f",
        "[",
        "[]",
        "[] f",
        "[ds",
        "[ds]f",
        "[ds] /f",
        "[ds] a//b",
        "[ds] ../f",
        "[ds] a/./b",
        "[ds] a\nb",
    ] {
        assert!(text.parse::<DatastorePath>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn whatever_can_be_made_is_read_back(datastore in "[\\[\\] a%é]{1,8}", path in "[\\[\\] a%/.é]{0,12}") {
        if let Ok(made) = DatastorePath::new(&datastore, &path) {
            prop_assert_eq!(&read(&made.to_string()), &made);
            prop_assert_eq!(made.datastore(), datastore);
            if let (Some(parent), Some(name)) = (made.parent(), made.file_name()) {
                prop_assert_eq!(parent.join(name).unwrap(), made);
            }
        }
    }

    #[test]
    fn ordinary_names_can_always_be_made(datastore in "[A-Za-z0-9 _.()-]{1,20}", path in "[a-z0-9]{1,5}(/[a-z0-9\\]\\[ ]{1,5}){0,3}") {
        prop_assert!(DatastorePath::new(&datastore, &path).is_ok());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = text.parse::<DatastorePath>();
    }
}
