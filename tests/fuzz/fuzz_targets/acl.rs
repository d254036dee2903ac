//! Any bytes as a file of users: what is taken is written as lines that are taken again and are the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::acl::file;
use ringfold::acl::users::Users;
use ringfold::node::families;

fuzz_target!(|input: &[u8]| {
    let catalog = families::table().catalog();
    let old = Users::new(catalog, false);
    let Ok(users) = file::read(catalog, &old, "users.acl", input) else { return };
    let text = file::text(&users);
    let again = file::read(catalog, &old, "users.acl", &text);
    let again = again.unwrap_or_else(|why| panic!("{why}\n{}", text.escape_ascii()));
    assert_eq!(String::from_utf8_lossy(&file::text(&again)), String::from_utf8_lossy(&text));
    assert_eq!(again.len(), users.len());
});
