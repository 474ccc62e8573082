use super::*;

#[test]
fn a_get_sets_the_fields_of_its_wire_message() {
    let get = Get::prefix("a")
        .limit(1)
        .revision(2)
        .sort(SortOrder::Descend, SortTarget::Mod)
        .serializable()
        .keys_only()
        .count_only()
        .min_mod_revision(3)
        .max_mod_revision(4)
        .min_create_revision(5)
        .max_create_revision(6);
    let wire = RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 1,
        revision: 2,
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Mod.into(),
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    };
    assert_eq!(RangeRequest::from(get), wire);
}

#[test]
fn a_key_or_a_range_is_a_get_and_a_delete() {
    assert_eq!(Get::from("k"), Get::key(b"k"));
    assert_eq!(
        Get::from(KeyRange::from_key("k")),
        Get::from_key(String::from("k"))
    );
    assert_eq!(Delete::from(vec![b'k']), Delete::key("k"));
    assert_eq!(
        Delete::from(KeyRange::range("a", "b")),
        Delete::range("a", "b")
    );
}

#[test]
fn a_put_and_a_compact_set_the_fields_of_their_wire_messages() {
    let put = Put::new("k", "v").lease(7).prev_kv();
    let put = put.ignore_value().ignore_lease();
    let PutRequest {
        key,
        value,
        lease,
        prev_kv,
        ignore_value,
        ignore_lease,
    } = put.into();
    assert_eq!((key, value, lease), ("k".into(), "v".into(), 7));
    assert!(prev_kv && ignore_value && ignore_lease);
    let CompactionRequest { revision, physical } = Compact::new(9).physical().into();
    assert!(revision == 9 && physical);
}

#[test]
fn only_all_deletes_every_key() {
    let wire = |delete: Delete| DeleteRangeRequest::from(delete);
    assert_eq!(wire(Delete::prefix("")).key, "", "refused when it is sent");
    assert_eq!(
        (wire(Delete::all()).key, wire(Delete::all()).range_end),
        ("\0".into(), "\0".into())
    );
    assert_eq!(
        (
            wire(Delete::prefix("p")).range_end,
            wire(Delete::prefix("p").prev_kv()).prev_kv
        ),
        ("q".into(), true)
    );
    assert_eq!(Get::prefix(""), Get::all());
}

#[test]
fn a_value_is_not_printed() {
    let printed = format!("{:?}", Put::new("key", "secret"));
    assert!(
        printed.contains("key") && printed.contains("value_len: 6") && !printed.contains("secret"),
        "{printed}"
    );
}

#[test]
fn the_first_or_last_key_is_a_sort_with_a_limit_of_one() {
    use SortOrder::{Ascend, Descend};
    let get = || Get::prefix("q/");
    for (get, order, target) in [
        (get().first_key(), Ascend, SortTarget::Key),
        (get().last_key(), Descend, SortTarget::Key),
        (get().first_create(), Ascend, SortTarget::Create),
        (get().last_create(), Descend, SortTarget::Create),
        (get().first_mod(), Ascend, SortTarget::Mod),
        (get().last_mod(), Descend, SortTarget::Mod),
        (
            get().top(Descend, SortTarget::Version),
            Descend,
            SortTarget::Version,
        ),
    ] {
        assert_eq!(get, Get::prefix("q/").sort(order, target).limit(1));
    }
}
