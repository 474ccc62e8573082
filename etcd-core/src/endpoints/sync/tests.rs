//! What a member list makes of a list of endpoints.

use super::*;
use crate::credentials::Credentials;
use crate::pool::Balance;
use crate::pool::state::PoolState;

struct Case {
    given: &'static str,
    found: &'static str,
    /// The ids of the members to which the endpoints lead, in their order; 0: none is connected.
    connected: &'static [u64],
    /// Words such as `1=http://a,http://b`; `L2=…` is a learner.
    members: &'static str,
    /// What is in the list then.
    then: &'static str,
}

fn member(word: &str) -> Member {
    let (id, urls) = word.split_once('=').unwrap();
    let (id, is_learner) = match id.strip_prefix('L') {
        Some(id) => (id, true),
        None => (id, false),
    };
    let urls = urls.split(',').filter(|url| !url.is_empty());
    Member {
        id: id.parse().unwrap(),
        client_urls: urls.map(str::to_owned).collect(),
        is_learner,
        ..Member::default()
    }
}

fn admission(user: bool) -> Admission {
    let mut credentials = Credentials::default();
    if user {
        credentials.user = Some("u".into());
        credentials.password = Some("p".into());
    }
    Admission::new(None, credentials)
}

fn follow(case: &Case, admission: &Admission) -> (String, String) {
    let parse = |list: &str| match list {
        "" => Vec::new(),
        list => Endpoint::parse_list([list], false).unwrap(),
    };
    let found = parse(case.found);
    let list = [parse(case.given), found.clone()].concat();
    let now = std::time::Instant::now();
    let mut state = PoolState::new(list, Balance::P2c, 1, now);
    for (id, member) in state.due(now).into_iter().zip(case.connected) {
        if *member != 0 {
            let told = crate::pool::state::Member {
                id: *member,
                ..Default::default()
            };
            state.connected(id, told, now).unwrap();
        }
    }
    let views = state.snapshot(now);
    let follow = Follow {
        views: &views,
        found: &found.into_iter().collect(),
        admission,
    };
    let members: Vec<_> = case.members.split_whitespace().map(member).collect();
    let (list, found) = follow.members(&members);
    let text = |list: Vec<Endpoint>| {
        let texts = list.iter().map(|endpoint| endpoint.to_string());
        texts.collect::<Vec<_>>().join(",").replace("http://", "")
    };
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|endpoint| endpoint.to_string());
    (text(list), text(found))
}

fn check(cases: &[Case], admission: &Admission) {
    for case in cases {
        let (list, found) = follow(case, admission);
        assert_eq!(list, case.then, "{} + {}", case.given, case.members);
        for endpoint in found.split(',').filter(|endpoint| !endpoint.is_empty()) {
            assert!(!case.given.contains(endpoint) && list.contains(endpoint));
        }
    }
}

#[test]
fn members_come_and_go_and_what_was_given_stays() {
    let case = |found, connected, members, then| Case {
        given: "a:1",
        found,
        connected,
        members,
        then,
    };
    check(
        &[
            // All members but the one that the given endpoint leads to, under whatever name.
            case(
                "",
                &[1],
                "1=http://x:1 2=http://b:1 3=http://c:1",
                "a:1,b:1,c:1",
            ),
            case("", &[0], "1=http://x:1 2=http://b:1", "a:1,x:1,b:1"),
            case("", &[1], "1=http://a:1", "a:1"),
            // Named endpoints go with their members, and come back with new addresses.
            case(
                "b:1,c:1",
                &[1, 2, 3],
                "1=http://a:1 3=http://c:1",
                "a:1,c:1",
            ),
            case("b:1", &[1, 2], "1=http://a:1 2=http://d:1", "a:1,d:1"),
            // The given one is not needed for its member any more, and stays.
            case("b:1", &[9, 2], "2=http://b:1", "a:1,b:1"),
            // The given endpoint leads there now: the named one is one too many.
            case("b:1", &[2, 2], "2=http://b:1", "a:1"),
            // All addresses of a member.
            case(
                "",
                &[1],
                "1=http://a:1 2=http://b:1,http://b:2",
                "a:1,b:1,b:2",
            ),
        ],
        &admission(false),
    );
}

#[test]
fn learners_and_members_that_have_not_started_do_not_count_and_the_list_is_never_empty() {
    let case = |members, then| Case {
        given: "",
        found: "b:1",
        connected: &[2],
        members,
        then,
    };
    check(
        &[
            case("2=http://b:1 L3=http://c:1 4=", "b:1"),
            case("", "b:1"),
            case("L2=http://b:1", "b:1"),
            case("5=https://e:1", "b:1"),
            case("5=http://e:1", "e:1"),
        ],
        &admission(false),
    );
}

#[test]
fn addresses_that_could_not_have_been_given_do_not_count() {
    let case = |given, members, then| Case {
        given,
        found: "",
        connected: &[],
        members,
        then,
    };
    check(
        &[
            case("a:1", "2=https://b:1 3=http://c:1", "a:1,c:1"),
            case(
                "a:1",
                "2=unix:///tmp/s 3=http://0.0.0.0:1 4=http://c:1,rubbish://",
                "a:1,c:1",
            ),
            case(
                "a:1",
                "2=http://localhost:1 3=http://127.0.0.1:2 4=http://c:1",
                "a:1,c:1",
            ),
            case(
                "127.0.0.1:5",
                "2=http://localhost:1",
                "127.0.0.1:5,localhost:1",
            ),
        ],
        &admission(false),
    );
    check(
        &[case(
            "127.0.0.1:5",
            "2=http://b:1 3=http://127.0.0.1:6",
            "127.0.0.1:5,127.0.0.1:6",
        )],
        &admission(true),
    );
    let encrypted = Endpoint::parse("https://a:1", true).unwrap();
    assert!(
        Endpoint::parse("http://b:1", true).is_err(),
        "{encrypted} makes no exception"
    );
}
