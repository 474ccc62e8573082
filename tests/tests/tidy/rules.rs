//! The invariants of the code. Each rule takes the sources and returns what is wrong, one line each.

use crate::source::{Source, Token, item_len};

pub(crate) type Rule = fn(&[Source]) -> Vec<String>;

const CORE: &str = "etcd-core/src/";
const NET: &str = "etcd-core/src/net/";
const POOL: &str = "etcd-core/src/pool/";
const CHANNEL: &str = "etcd-core/src/channel.rs";
const CALL: &str = "etcd-core/src/call.rs";
const TOKEN: &str = "etcd-core/src/token.rs";
const RECIPES: &str = "etcd-recipes/src/";
/// What ends up in a caller's program.
const LIBRARIES: [&str; 3] = [CORE, RECIPES, "etcd-proto/src/"];

/// State machines are pure: no I/O, and time comes in as an argument.
pub(crate) fn state_machines_are_pure(sources: &[Source]) -> Vec<String> {
    let pure = |path: &str| path.ends_with("/state.rs") || path.contains("/state/");
    let io = ["tokio", "h2", "tonic", "hyper"];
    let clock = [
        "Instant :: now",
        "SystemTime",
        ". elapsed (",
        "boot_now",
        "clock_gettime",
    ];
    forbid(
        sources,
        pure,
        &[&io[..], &clock[..]].concat(),
        "a state machine does no I/O and reads no clock",
    )
}

/// Only `net/` knows HTTP, and the channel, which is a service for HTTP requests, the words for these.
pub(crate) fn only_net_knows_http(sources: &[Source]) -> Vec<String> {
    let others = |path: &str| in_core_or_recipes(path) && !path.starts_with(NET);
    let all_others = |path: &str| others(path) && path != CHANNEL;
    let why = "only etcd-core/src/net knows HTTP";
    let mut wrong = forbid(sources, others, &["h2", "hyper", "tower", "tonic"], why);
    let words = ["http ::", "http_body", "tower_service"];
    wrong.extend(forbid(sources, all_others, &words, why));
    wrong
}

/// Only `net/connect.rs` opens a socket.
pub(crate) fn only_connect_opens_sockets(sources: &[Source]) -> Vec<String> {
    let connect = "etcd-core/src/net/connect.rs";
    let others = |path: &str| in_core_or_recipes(path) && path != connect;
    let sockets = [
        "TcpStream",
        "TcpSocket",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "UnixDatagram",
        "lookup_host",
        "ToSocketAddrs",
    ];
    forbid(
        sources,
        others,
        &sockets,
        "only net/connect.rs opens a socket",
    )
}

/// Only `call.rs` retries a unary call: it alone sends one (but for what the pool asks of the members), and it alone
/// asks whether to send it again. The owners of streams ask whether to open theirs again.
pub(crate) fn only_call_retries(sources: &[Source]) -> Vec<String> {
    let except = |allowed: &'static [&'static str]| {
        move |path: &str| in_core_or_recipes(path) && !starts_with_any(path, allowed)
    };
    let streams = &[
        CALL,
        "etcd-core/src/error/",
        "etcd-core/src/watch/state/",
        "etcd-core/src/lease/keeper.rs",
        "etcd-core/src/lease/once.rs",
        "etcd-core/src/replies.rs",
        "etcd-core/src/scan.rs",
    ];
    let senders = &[CALL, NET, "etcd-core/src/pool/ask.rs"];
    let why = "only call.rs retries a unary call";
    let mut wrong = forbid(sources, except(streams), &["decide"], why);
    wrong.extend(forbid(sources, except(senders), &[". unary ("], why));
    wrong
}

/// Tasks are spawned where they are known to end.
pub(crate) fn tasks_are_spawned_in_few_places(sources: &[Source]) -> Vec<String> {
    let places = &[
        NET,
        POOL,
        "etcd-core/src/watch/mux.rs",
        "etcd-core/src/lease/keeper.rs",
        "etcd-core/src/token.rs",
        // Follows the member list by calls, which the pool, below them, cannot make.
        "etcd-core/src/endpoints/sync.rs",
        RECIPES,
    ];
    let others = |path: &str| in_core_or_recipes(path) && !starts_with_any(path, places);
    let spawns = [
        "spawn",
        "spawn_blocking",
        "spawn_local",
        "JoinSet",
        "LocalSet",
        "thread ::",
    ];
    forbid(
        sources,
        others,
        &spawns,
        "tasks are spawned only in net/, pool/, watch/mux.rs, lease/keeper.rs, token.rs, endpoints/sync.rs and by recipes",
    )
}

/// No type of a dependency for the wire in a public signature.
pub(crate) fn no_wire_crate_in_public(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|s| in_core_or_recipes(&s.path)) {
        let tokens = source.production();
        for i in 0..tokens.len() {
            let public =
                tokens[i].text == "pub" && tokens.get(i + 1).is_some_and(|next| next.text != "(");
            let signature = if public { signature(&tokens[i..]) } else { &[] };
            for token in signature {
                if ["tonic", "h2", "http", "hyper", "tower"].contains(&token.text.as_str()) {
                    let (path, line, name) = (&source.path, token.line, &token.text);
                    wrong.push(format!("{path}:{line}: `{name}` in a public signature"));
                }
            }
        }
    }
    wrong
}

/// Nothing grows without a bound, and no lock is held across an await.
pub(crate) fn queues_are_bounded_and_locks_short(sources: &[Source]) -> Vec<String> {
    let unbounded = [
        "unbounded",
        "unbounded_channel",
        "UnboundedSender",
        "UnboundedReceiver",
        "std :: sync :: mpsc",
    ];
    let mut wrong = forbid(
        sources,
        in_core_or_recipes,
        &unbounded,
        "no unbounded queue",
    );
    for source in sources.iter().filter(|s| in_core_or_recipes(&s.path)) {
        let tokens = source.production();
        for i in 0..tokens.len() {
            if ["tokio", "::", "sync"]
                .iter()
                .zip(&tokens[i..])
                .all(|(a, b)| *a == b.text)
            {
                let statement = &tokens[i..i + item_len(&tokens[i..])];
                let lock = |token: &&Token| ["Mutex", "RwLock"].contains(&token.text.as_str());
                wrong.extend(
                    statement
                        .iter()
                        .take_while(|t| t.text != ";")
                        .find(lock)
                        .map(|at| {
                            format!(
                                "{}:{}: only std's locks are used, never across an await",
                                source.path, at.line
                            )
                        }),
                );
            }
        }
    }
    wrong
}

/// A panic takes the caller's program down.
pub(crate) fn nothing_panics(sources: &[Source]) -> Vec<String> {
    let panics = [
        ". unwrap (",
        ". expect (",
        ". unwrap_err (",
        ". expect_err (",
        "panic !",
        "unreachable !",
        "todo !",
        "unimplemented !",
        "clippy :: unwrap_used",
        "clippy :: expect_used",
        "clippy :: panic",
    ];
    let libraries = |path: &str| starts_with_any(path, &LIBRARIES);
    forbid(sources, libraries, &panics, "a library does not panic")
}

/// Inside core: client → {kv, watch, lease, …} → call → pool → net, never the other way. What gets tokens is given to them: it
/// does not know that it is itself a call.
pub(crate) fn imports_point_down(sources: &[Source]) -> Vec<String> {
    // What the lower layers may name of the crate, beside the layers below them: leaves without I/O of their own.
    let leaves = [
        "error", "backoff", "budget", "clock", "fuzz", "observe", "tls",
    ];
    let layers: [(&str, &[&str]); 4] = [
        (NET, &["net"]),
        (POOL, &["net", "pool"]),
        (CALL, &["net", "pool", "token"]),
        (TOKEN, &["net"]),
    ];
    let mut wrong = Vec::new();
    for source in sources {
        let Some((layer, below)) = layers
            .iter()
            .find(|(layer, _)| source.path.starts_with(layer))
        else {
            continue;
        };
        for name in crate_names(&source.production()) {
            if !leaves.contains(&name.text.as_str()) && !below.contains(&name.text.as_str()) {
                wrong.push(format!(
                    "{}:{}: `crate::{}`: {layer} imports only {below:?} and {leaves:?}",
                    source.path, name.line, name.text
                ));
            }
        }
    }
    wrong
}

/// Recipes stand on core's public API, and leave the server's own locks and elections alone, which lapse.
pub(crate) fn recipes_use_only_core(sources: &[Source]) -> Vec<String> {
    let recipes = |path: &str| path.starts_with(RECIPES);
    let wire = ["etcd_proto", "prost", "h2", "http", "hyper", "tonic"];
    let mut wrong = forbid(
        sources,
        recipes,
        &wire,
        "recipes use only etcd-core's public API",
    );
    let lapsing = ["v3lockpb", "v3electionpb"];
    wrong.extend(forbid(
        sources,
        recipes,
        &lapsing,
        "recipes call no Lock or Election RPC",
    ));
    let manifest = sources.iter().find(|s| s.path == "etcd-recipes/Cargo.toml");
    for line in manifest.map(|s| s.text.lines()).into_iter().flatten() {
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if [
            "etcd-proto",
            "prost",
            "h2",
            "http",
            "hyper",
            "tonic",
            "tower",
        ]
        .contains(&name)
        {
            wrong.push(format!(
                "etcd-recipes/Cargo.toml: depends on {name}; recipes use only etcd-core"
            ));
        }
    }
    wrong
}

/// Every line of production code under the paths on which one of the patterns occurs.
fn forbid(
    sources: &[Source],
    applies: impl Fn(&str) -> bool,
    patterns: &[&str],
    why: &str,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.path.ends_with(".rs") && applies(&source.path))
    {
        let tokens = source.production();
        for pattern in patterns {
            for line in Source::find(&tokens, pattern) {
                wrong.push(format!(
                    "{}:{line}: `{}`: {why}",
                    source.path,
                    pattern.replace(' ', "")
                ));
            }
        }
    }
    wrong
}

/// The names that follow `crate::`, one for each member of `crate::{…}`.
fn crate_names(tokens: &[Token]) -> Vec<Token> {
    let mut names = Vec::new();
    for i in 2..tokens.len() {
        if tokens[i - 2].text != "crate" || tokens[i - 1].text != "::" {
            continue;
        }
        if tokens[i].text != "{" {
            names.push(tokens[i].clone());
            continue;
        }
        let mut depth = 0;
        for pair in tokens[i..i + item_len(&tokens[i..])].windows(2) {
            match pair[0].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let starts = depth == 1 && ["{", ","].contains(&pair[0].text.as_str());
            if starts && pair[1].text != "}" {
                names.push(pair[1].clone());
            }
        }
    }
    names
}

/// From `pub` to the body or the end of the item or field.
fn signature(tokens: &[Token]) -> &[Token] {
    let end = tokens
        .iter()
        .position(|token| ["{", "}", ";", "="].contains(&token.text.as_str()));
    // The braces of `pub use a::{b, c};` belong to it.
    if tokens.get(1).is_some_and(|next| next.text == "use") {
        return &tokens[..tokens
            .iter()
            .position(|token| token.text == ";")
            .unwrap_or(tokens.len())];
    }
    &tokens[..end.unwrap_or(tokens.len())]
}

fn in_core_or_recipes(path: &str) -> bool {
    starts_with_any(path, &[CORE, RECIPES])
}

fn starts_with_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}
