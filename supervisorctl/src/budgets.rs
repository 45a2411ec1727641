//! `budgets`: what is spent and what is left, and letting one begin anew.

use supervisor_api::{Budget, BudgetList};

use crate::cli::{BudgetsCommand, BudgetsOptions, GlobalOptions};
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::table::{cell, table_of, text};
use crate::units::{show_size, show_time};

/// `budgets`.
pub async fn budgets(
    client: &Client,
    options: &BudgetsOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    if let Some(BudgetsCommand::Reset { account }) = &options.command {
        return print_reset(&client.reset_budget(account).await?, global);
    }
    let list = client.budgets(options.all).await?;
    if global.json {
        return console::print_json(&list);
    }
    if global.quiet {
        let names = list.budgets.iter().map(|budget| format!("{}\n", budget.account));
        return console::print(&names.collect::<String>());
    }
    console::print(&describe(&list))
}

fn print_reset(budget: &Budget, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(budget);
    }
    if global.quiet {
        return console::print(&format!("{}\n", budget.account));
    }
    console::print(&describe(&BudgetList { budgets: vec![budget.clone()] }))
}

fn describe(list: &BudgetList) -> String {
    let mut rows = table_of(&["ACCOUNT", "METER", "SPENT", "LEFT", "LIMIT", "EVERY"]);
    for budget in &list.budgets {
        let every = budget.window.map(|seconds| show_time(seconds.saturating_mul(1000)));
        for meter in &budget.meters {
            let show = |number: u64| match meter.meter.starts_with("bytes") {
                true => show_size(number),
                false => number.to_string(),
            };
            rows.add_row([
                cell(&budget.account),
                cell(&meter.meter),
                cell(&show(meter.spent)),
                cell(&show(meter.left)),
                cell(&show(meter.limit)),
                cell(every.as_deref().unwrap_or("")),
            ]);
        }
    }
    text(&rows)
}
