//! Redis as a cluster, behind Sentinels, over a socket, and for users who may do little.

use std::sync::Arc;
use std::time::Duration;

use kenning_storage::testing::{RedisCluster, RedisSentinels, RedisServer, Release};
use kenning_storage::{
    Layout, Revision, Storage, StorageError, StorageLimits, TenantId, TlsFiles, open, verify,
};

use crate::tools::*;

async fn connect(url: &str) -> Arc<dyn Storage> {
    open(url, Layout::Tenant, StorageLimits::default()).await.unwrap()
}

async fn refusal(url: &str) -> String {
    unavailable(connect(url).await.ping(later()).await)
}

async fn until_served(storage: &dyn Storage) {
    eventually("a call", || storage.ping(later()), Result::is_ok).await;
}

async fn write_to(storage: &dyn Storage, tenant: &TenantId, name: &str) {
    let writes = [absent(name, 1)];
    eventually("a write", || storage.write(tenant, &writes, later()), Result::is_ok).await;
}

/// What the documentation says that a user needs (docs/OPERATING.md, "Redis").
const LEAST: &str = include_str!("../../docs/redis.acl");

/// `ACL SETUSER` with what the documentation says of the user `kenning`.
fn create_user(server: &RedisServer) {
    let line = LEAST.lines().find(|line| line.starts_with("user ")).expect("a line for a user");
    let mut words: Vec<&str> = vec!["ACL", "SETUSER"];
    words.extend(line.split_whitespace().skip(1));
    assert_eq!(server.command(&words), "+OK\r\n", "{line}");
}

/// Everything that a storage does.
async fn use_everything(storage: &dyn Storage) {
    let acme = tenant("acme");
    let revisions = put(storage, &[("a", 1), ("b", 2)]).await;
    put_vector(storage, "a", revisions[0], 1.0).await;
    assert_eq!(read_vector(storage, "a").await, Some(vector(1.0)));
    storage.mark_pending(&default_tenant(), &ids(&["a"]), later()).await.unwrap();
    assert_eq!(pending(storage).await.len(), 2);
    assert_eq!(list(storage).await, ["b", "a"]);
    assert_eq!(get(storage, "a").await, Some(hash(&[("content", "a")])));
    assert!(storage.is_listed(&default_tenant(), &id("a"), later()).await.unwrap());
    storage.changes(&default_tenant(), Revision(0), 10, later()).await.unwrap();
    let after = [(default_tenant(), Revision(0)), (acme.clone(), Revision(0))];
    let wait = std::time::Duration::from_millis(50);
    assert_eq!(storage.next_changes(&after, 10, wait).await.unwrap().len(), 1);
    storage.last_revisions(&[default_tenant(), acme.clone()], later()).await.unwrap();
    storage.claim_embedding(&acme, wait, later()).await.unwrap();
    storage.raise_registry(&acme, later()).await.unwrap();
    let registry = storage.registry_revisions(std::slice::from_ref(&acme), later()).await.unwrap();
    storage.drop_registry(&acme, registry[0], later()).await.unwrap();
    storage.living_hosts(later()).await.unwrap();
    storage.end_lease(later()).await.unwrap();
    storage.draw(&acme, &Default::default(), wait, later()).await.unwrap();
    let name = kenning_storage::DocumentName::parse("d").unwrap();
    let large = vec![7; 5 << 20];
    let version = storage.write_document(&name, &large, None, later()).await.unwrap().unwrap();
    let read = storage.read_document(&name, 6 << 20, later()).await.unwrap().unwrap();
    assert_eq!(read.bytes, large);
    assert_eq!(storage.list_documents("", later()).await.unwrap().len(), 1);
    assert!(storage.documents_revision(later()).await.unwrap() > 0);
    assert!(storage.delete_document(&name, version, later()).await.unwrap());
    storage.check_writable(later()).await.unwrap();
    storage.losses(later()).await.unwrap();
    storage.remove_lost(&default_tenant(), &ids(&["a", "gone"]), later()).await.unwrap();
    storage.remove_all_lost(&default_tenant(), later()).await.unwrap();
    assert_eq!(storage.usage(&default_tenant(), later()).await.unwrap().facts, 2);
    assert!(delete(storage, "b").await.is_some());
    assert_eq!(storage.tenants(later()).await, Ok(vec![default_tenant()]));
    assert!(!storage.delete_tenant(&default_tenant(), later()).await.unwrap());
    assert_eq!(storage.tenants(later()).await, Ok(vec![]));
}

#[tokio::test]
async fn a_user_with_the_documented_commands_may_do_everything() {
    for options in [&[][..], &["--unixsocket", "DIR/redis.sock"]] {
        let server = RedisServer::start_with_options(options);
        create_user(&server);
        let url = match options {
            [] => format!("redis://kenning:secret@127.0.0.1:{}", server.port()),
            _ => {
                let dir = server.dir().display();
                format!("redis+unix://{dir}/redis.sock?user=kenning&pass=secret")
            }
        };
        server.command(&["ACL", "LOG", "RESET"]);
        use_everything(&*connect(&url).await).await;
        assert_eq!(server.command(&["ACL", "LOG"]), "*0\r\n", "nothing was refused");
        let report = verify(&url, Layout::Tenant, &TlsFiles::default()).await.unwrap();
        assert_eq!(report.found, 0, "{report:?}");
    }
}

#[tokio::test]
async fn a_user_with_the_documented_commands_may_do_everything_in_the_flat_layout() {
    let server = RedisServer::start();
    create_user(&server);
    server.command(&["HSET", "fact:theirs", "content", "theirs"]);
    server.command(&["ACL", "LOG", "RESET"]);
    let url = format!("redis://kenning:secret@127.0.0.1:{}", server.port());
    let storage = open(&url, Layout::Flat, StorageLimits::default()).await.unwrap();
    eventually("an adopted fact", || get(&*storage, "theirs"), Option::is_some).await;
    eventually("a listing", || list(&*storage), |listed| listed == &["theirs"]).await;
    assert_eq!(server.command(&["ACL", "LOG"]), "*0\r\n", "nothing was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_documented_commands_may_do_everything_on_a_cluster() {
    let cluster = RedisCluster::start();
    for node in &cluster.nodes {
        create_user(node);
    }
    let url = cluster.url().replace("://", "://kenning:secret@");
    use_everything(&*connect(&url).await).await;
    for node in &cluster.nodes {
        assert_eq!(node.command(&["ACL", "LOG"]), "*0\r\n", "nothing was refused");
    }
    assert_eq!(connect(&url).await.describe().address, cluster.url());
    let report = verify(&url, Layout::Tenant, &TlsFiles::default()).await.unwrap();
    assert_eq!(report.found, 0, "{report:?}");
}

#[tokio::test]
async fn what_a_user_may_not_do_is_said() {
    let server = RedisServer::start();
    create_user(&server);
    server.command(&["ACL", "SETUSER", "kenning", "-evalsha"]);
    let url = format!("redis://kenning:secret@127.0.0.1:{}", server.port());
    let storage = connect(&url).await;
    let write = storage.write(&default_tenant(), &[absent("a", 1)], later()).await;
    let message = unavailable(write);
    assert!(message.contains("the Redis user may not do this (NOPERM"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_cluster_and_what_is_one_are_told_apart() {
    let server = RedisServer::start();
    let message = refusal(&server.url().replace("redis://", "redis+cluster://")).await;
    assert!(message.contains("is no cluster; use redis://"), "{message}");
    let cluster = RedisCluster::start();
    // Any node but the one that has the key.
    let owner = cluster.owner_of("kenning:tenants");
    let other = &cluster.nodes[(owner + 1) % 3];
    let message = refusal(&other.url()).await;
    assert!(message.contains("part of a cluster; use redis+cluster://"), "{message}");
    let flat = open(&cluster.url(), Layout::Flat, StorageLimits::default()).await;
    let error = flat.err().unwrap().to_string();
    assert!(error.contains("flat layout needs a single Redis"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_no_sentinel_knows_is_said_to_be_unknown() {
    let mut sentinels = RedisSentinels::start();
    let storage = connect(&sentinels.url()).await;
    until_served(&*storage).await;
    let message = refusal(&sentinels.url_of("other")).await;
    assert!(message.contains("know no master called \"other\""), "{message}");
    // Two of three are enough, and the replicas are not asked for facts.
    let url = sentinels.url();
    sentinels.kill_sentinel(1);
    use_everything(&*connect(&url).await).await;
    // A server in the place of a Sentinel, and a Sentinel in the place of a server.
    let server = &sentinels.servers[0];
    let message = refusal(&format!("redis+sentinel://127.0.0.1:{}/kb", server.port())).await;
    assert!(message.contains("no Sentinel"), "{message}");
    let named = url.split_once("://").unwrap().1.split(',').next().unwrap().to_owned();
    let message = refusal(&format!("redis://{named}")).await;
    assert!(message.contains("use redis+sentinel://"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_that_sentinels_choose_is_used_and_nothing_is_lost() {
    let mut sentinels = RedisSentinels::start();
    let storage = connect(&sentinels.url()).await;
    for n in 0..50 {
        write_to(&*storage, &default_tenant(), &format!("before-{n}")).await;
    }
    sentinels.servers[0].kill();
    let write = storage.write(&default_tenant(), &[absent("during", 1)], later()).await;
    assert!(write.is_err(), "the master is gone: {write:?}");
    write_to(&*storage, &default_tenant(), "after").await;
    let master = sentinels.master().expect("a new master");
    assert_ne!(master, 0);
    let listed = list(&*storage).await;
    assert_eq!(listed.iter().filter(|id| id.starts_with("before")).count(), 50);
    // The old one comes back as a replica.
    sentinels.servers[0].restart();
    write_to(&*storage, &default_tenant(), "back").await;
    assert_eq!(get(&*storage, "after").await, Some(hash(&[("content", "after")])));
}

/// A slot with many keys, stopped in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_moved_under_its_readers_and_writers() {
    let cluster = RedisCluster::start();
    let storage = connect(&cluster.url()).await;
    let names: Vec<String> = (0..100).map(|n| format!("f-{n}")).collect();
    let facts: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    put(&*storage, &facts).await;
    let runtime = tokio::runtime::Handle::current();
    let before = cluster.owner_of("kenning:{default}:order");
    tokio::task::block_in_place(|| {
        cluster.move_slot("kenning:{default}:order", || {
            runtime.block_on(async {
                // What has some keys here and some there is put off, and said to be.
                let write = storage.write(&default_tenant(), &[absent("new", 1)], later()).await;
                let message = unavailable(write);
                assert!(message.contains("moving these keys to another node"), "{message}");
                // One key is found wherever it is.
                assert_eq!(storage.count(&default_tenant(), later()).await, Ok(100));
                for name in &names {
                    let listed = storage.is_listed(&default_tenant(), &id(name), later()).await;
                    assert_eq!(listed, Ok(true), "{name}");
                }
            });
        });
    });
    assert_ne!(cluster.owner_of("kenning:{default}:order"), before);
    write_to(&*storage, &default_tenant(), "new").await;
    assert_eq!(list(&*storage).await.len(), 101);
    for name in &names {
        assert_eq!(get(&*storage, name).await, Some(hash(&[("content", name)])), "{name}");
    }
}

/// The other nodes' tenants are served all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_the_place_of_a_master_that_was_killed() {
    let mut cluster = RedisCluster::start_replicated();
    let storage = connect(&cluster.url()).await;
    let tenants: Vec<TenantId> = (0..12).map(|n| tenant(&format!("t{n}"))).collect();
    for tenant in &tenants {
        write_to(&*storage, tenant, "before").await;
    }
    let owner = |tenant: &TenantId| cluster.owner_of(&format!("kenning:{{{tenant}}}:order"));
    // Not of the node that has the list of all tenants.
    let listed = cluster.owner_of("kenning:tenants");
    let victim = (listed + 1) % 3;
    let (gone, others): (Vec<_>, Vec<_>) =
        tenants.iter().partition(|tenant| owner(tenant) == victim);
    assert!(!gone.is_empty() && !others.is_empty(), "tenants are on all nodes");
    // What it has acknowledged and its replica does not have yet goes with it.
    let info = || cluster.nodes[victim].command(&["INFO", "replication"]);
    let number = |text: &str, after: &str| -> Option<u64> {
        let rest = text.split(after).nth(1)?;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let wanted = number(&info(), "master_repl_offset:");
    while number(&info(), ",offset=") < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.nodes[victim].kill();
    for tenant in &others {
        let read = storage.read(tenant, &[id("before")], PLENTY, later()).await;
        assert!(read.is_ok(), "{tenant} is on another node: {read:?}");
    }
    for tenant in &gone {
        let read = storage.read(tenant, &[id("before")], PLENTY, later()).await;
        if let Err(error) = read {
            assert!(!matches!(error, StorageError::Corrupt(_)), "{error}");
        }
        write_to(&*storage, tenant, "after").await;
    }
    for tenant in &tenants {
        assert!(get_of(&*storage, tenant, "before").await.is_some(), "{tenant} lost a fact");
    }
    cluster.nodes[victim].restart();
    cluster.until_agreed();
    for tenant in &gone {
        write_to(&*storage, tenant, "back").await;
        assert_eq!(storage.count(tenant, later()).await, Ok(3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_kept_apart_in_each_form_that_has_them() {
    let server = RedisServer::start_release(Release::Redis7, &["--unixsocket", "DIR/redis.sock"]);
    let socket = format!("redis+unix://{}/redis.sock", server.dir().display());
    put(&*connect(&format!("{socket}?db=3")).await, &[("a", 1)]).await;
    assert_eq!(list(&*connect(&format!("{}/3", server.url())).await).await, ["a"]);
    assert_eq!(list(&*connect(&socket).await).await, [""; 0]);
    let resp2 = connect(&format!("{socket}?db=3&protocol=resp2")).await;
    assert_eq!(list(&*resp2).await, ["a"]);
}
