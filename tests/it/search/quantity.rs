//! Number and quantity parameters: implicit precision, prefixes, units (R4 search.html#number, #quantity).

use serde_json::{Value, json};

use super::{check, check_in_order, load, refuse, resource};
use crate::harness::on_both;

/// A plan with a group size and costs as literals, so that they are stored as written.
fn plan(id: &str, size: u32, cost: &str, currency: &str) -> Value {
    let cost: Value = serde_json::from_str(&format!(r#"{{"value": {cost}, "currency": "{currency}"}}"#)).expect("JSON");
    resource("InsurancePlan", id, json!({"plan": [{"generalCost": [{"groupSize": size, "cost": cost}]}]}))
}

on_both! {
    with (crate::search::UNHELD);

    fn a_number_is_as_precise_as_it_is_written(server) {
        load(server, &[
            plan("p94", 94, "1", "USD"), plan("p95", 95, "1", "USD"), plan("p99", 99, "1", "USD"), plan("p100", 100, "1", "USD"),
            plan("p101", 101, "1", "USD"), plan("p104", 104, "1", "USD"), plan("p105", 105, "1", "USD"),
            resource("InsurancePlan", "none", json!({"name": "None"})),
        ]);
        check(server, &[
            ("InsurancePlan?group-size=100", &["p100"]),
            ("InsurancePlan?group-size=eq100", &["p100"]),
            ("InsurancePlan?group-size=100.0", &["p100"]),
            ("InsurancePlan?group-size=1e2", &["p95", "p99", "p100", "p101", "p104"]),
            ("InsurancePlan?group-size=1.00e2", &["p100"]),
            ("InsurancePlan?group-size=ne100", &["p94", "p95", "p99", "p101", "p104", "p105"]),
            ("InsurancePlan?group-size=gt100", &["p101", "p104", "p105"]),
            ("InsurancePlan?group-size=ge100", &["p100", "p101", "p104", "p105"]),
            ("InsurancePlan?group-size=lt100", &["p94", "p95", "p99"]),
            ("InsurancePlan?group-size=le100", &["p94", "p95", "p99", "p100"]),
            ("InsurancePlan?group-size=sa100", &["p101", "p104", "p105"]),
            ("InsurancePlan?group-size=eb100", &["p94", "p95", "p99"]),
            ("InsurancePlan?group-size=ap100", &["p94", "p95", "p99", "p100", "p101", "p104", "p105"]),
            ("InsurancePlan?group-size=ap50", &[]),
            ("InsurancePlan?group-size=94,105", &["p94", "p105"]),
            ("InsurancePlan?group-size=gt94&group-size=lt100", &["p95", "p99"]),
            ("InsurancePlan?group-size=-100", &[]),
            ("InsurancePlan?group-size:missing=true", &["none"]),
        ]);
        refuse(server, &[
            "InsurancePlan?group-size=many", "InsurancePlan?group-size=1,x", "InsurancePlan?group-size=gt", "InsurancePlan?group-size=100||USD",
            "InsurancePlan?group-size=inf", "InsurancePlan?group-size=NaN", "InsurancePlan?group-size=1e999", "InsurancePlan?group-size:exact=1",
            "InsurancePlan?group-size:not=1", "InsurancePlan?group-size=0x10",
        ]);
    }

    fn a_quantity_may_name_its_unit(server) {
        load(server, &[
            plan("usd", 1, "100.00", "USD"), plan("cents", 1, "100.004", "USD"), plan("half", 1, "100.4", "USD"), plan("eur", 1, "100.00", "EUR"),
            plan("dear", 1, "250", "USD"), plan("tiny", 1, "0.001", "USD"),
        ]);
        check(server, &[
            ("InsurancePlan?cost=100", &["usd", "cents", "half", "eur"]),
            ("InsurancePlan?cost=100.00", &["usd", "cents", "eur"]),
            ("InsurancePlan?cost=100.000", &["usd", "eur"]),
            ("InsurancePlan?cost=100.00||USD", &["usd", "cents"]),
            ("InsurancePlan?cost=100.00|urn:iso:std:iso:4217|USD", &["usd", "cents"]),
            ("InsurancePlan?cost=100.00|urn:iso:std:iso:4217|EUR", &["eur"]),
            ("InsurancePlan?cost=100.00|http://a.example|EUR", &[]),
            ("InsurancePlan?cost=gt100.00||USD", &["cents", "half", "dear"]),
            ("InsurancePlan?cost=gt100||EUR", &[]),
            ("InsurancePlan?cost=le100||EUR,ge250||USD", &["eur", "dear"]),
            ("InsurancePlan?cost=1e-3", &["tiny"]),
            ("InsurancePlan?cost=lt.01", &["tiny"]),
        ]);
        refuse(server, &[
            "InsurancePlan?cost=x", "InsurancePlan?cost=100|USD", "InsurancePlan?cost=|urn:iso:std:iso:4217|USD", "InsurancePlan?cost=1|a|b|c",
            "InsurancePlan?cost:not=1",
        ]);
    }

    fn enormous_numbers_are_searched_and_sorted_like_others(server) {
        load(server, &[plan("huge", 1, "1e30", "USD"), plan("one", 1, "1", "USD"), plan("debt", 1, "-1e30", "USD")]);
        check(server, &[
            ("InsurancePlan?cost=gt1e29", &["huge"]),
            ("InsurancePlan?cost=lt-1e29", &["debt"]),
            ("InsurancePlan?cost=0e-2147483648", &[]),
            ("InsurancePlan?cost=gt0e-2147483648", &["huge", "one"]),
        ]);
        check_in_order(server, &[
            ("InsurancePlan?_sort=cost", &["debt", "one", "huge"]),
            ("InsurancePlan?_sort=-cost", &["huge", "one", "debt"]),
        ]);
    }
}
