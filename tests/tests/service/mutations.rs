//! The tests of this program, with layers of the sandbox taken away.

#[test]
fn without_a_layer_an_attack_comes_through_or_meets_the_next_one() {
    supervisor_tests::check_mutations(&["service/"]);
}
