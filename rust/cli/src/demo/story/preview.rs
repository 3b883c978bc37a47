use ztna_api::admin::{Answer, Op, PolicyChange, Preview, Right, Shift};

use crate::demo::stage::Stage;
use crate::demo::tale::Tale;
use crate::demo::trouble::{Trouble, While as _};

pub(super) async fn play(tale: &mut Tale, stage: &Stage) -> Result<(), Trouble> {
    tale.chapter("Preview", "a change is looked at before it is made");
    let everybody = r#"permit (principal in Group::"staff", action == Action::"connect", resource == Resource::"payroll");"#;
    let change = PolicyChange::Put {
        policy: "payroll".parse().while_doing("naming a policy")?,
        text: everybody.into(),
    };
    let wider = preview(stage, change).await?;
    let removal = PolicyChange::Remove { policy: "wiki".parse().while_doing("naming a policy")? };
    let narrower = preview(stage, removal).await?;
    tale.say("If payroll asked nothing of a device any more:");
    wider.gains.iter().for_each(|shift| tale.say(&format!("  + {}", in_words(shift))));
    tale.say("If the policy for the wiki were removed:");
    narrower.losses.iter().for_each(|shift| tale.say(&format!("  − {}", in_words(shift))));
    let gains =
        wider.gains.iter().any(|shift| shift.resource.as_str() == "payroll" && shift.right == Right::Connect);
    let loses = narrower.losses.iter().any(|shift| shift.resource.as_str() == "wiki");
    let still = matches!(stage.ask(Op::Policies {}).await?, Answer::Policies { policies } if policies.len() == 3
        && policies.iter().all(|policy| policy.version == 1));
    tale.promise(
        gains && loses && still,
        "who would gain and who would lose is shown, and nothing was changed",
    );
    Ok(())
}

pub(super) async fn preview(stage: &Stage, change: PolicyChange) -> Result<Preview, Trouble> {
    let Answer::Preview(preview) = stage.ask(Op::PolicyPreview { change }).await? else {
        return Err(Trouble::new("previewing a policy", "the broker shows none"));
    };
    Ok(preview)
}

fn in_words(shift: &Shift) -> String {
    let right = match shift.right {
        Right::Connect => "reach",
        Right::See => "see",
    };
    let now = if shift.sessions.is_empty() { "with a fit device" } else { "right now" };
    format!("Ana can {right} {} ({now})", shift.resource)
}
