//! Images of sandboxes that are parked.

use supervisor_api::{SubmitRequest, Top};
use supervisor_tests::{Client, copy_python, python, until_true};

use super::{Store, Value, world_with};

fn parked(client: &Client) -> u64 {
    let reply = client.call("GET", "/v1/top", None).expect("an answer");
    serde_json::from_slice::<Top>(&reply.body).expect("what runs").parked
}

/// Nobody waits until what nobody runs is given up: the refusal says what does it.
#[test]
fn an_image_of_which_a_sandbox_is_parked_is_removed_once_a_reload_has_given_it_up() {
    let world = world_with("[warm]\n");
    let store = Store::of(&world);
    copy_python(&store.directory.path().join("python"));
    store.import("python", &["--name", "box:1"]);
    let agent = world.agent(4711);
    let request = SubmitRequest { policy: Some("boxed".to_owned()), ..python("print('it runs')") };
    for _ in 0..2 {
        let ended = agent.run(&request);
        assert_eq!(ended.stdout, "it runs\n", "{ended:?}");
    }
    until_true("one is parked", || parked(&agent) > 0);
    let refusal = store.image(&["remove", "box:1"]).unwrap_err();
    assert_eq!(refusal["error"]["code"], "in_use");
    let words = refusal["error"]["detail"].as_str().expect("it says why");
    assert!(words.contains("`supervisorctl reload`"), "{words}");
    let collected = store.image(&["gc"]).unwrap();
    assert!(collected["removed"].as_array().unwrap().is_empty(), "it has a name");

    let reloaded = world.root().call("POST", "/v1/reload", None).expect("an answer");
    assert_eq!(reloaded.status, 200);
    until_true("it is given up", || {
        store.image(&["remove", "box:1"]).is_ok_and(|gone| gone["removed"] == Value::Bool(true))
    });
    assert!(store.image(&["list"]).unwrap()["images"].as_array().unwrap().is_empty());
}
