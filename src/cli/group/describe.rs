//! `ketcd group describe`: ConsumerGroupDescribe or DescribeGroups in one view.

use super::assignment;
use super::coordinator::Groups;
use super::members::{Group, Partitions, describe_existing};
use crate::cli::client::ConnectArgs;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Format, OutputArgs, Table, count};

/// Options of `ketcd group describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd group describe billing
  ketcd group describe billing -o wide
  ketcd group describe billing -o json | jq '.[0].members[].assignment'")]
pub struct DescribeArgs {
    /// Names of the groups
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: DescribeArgs) -> Outcome {
    let mut groups = Groups::connect(&args.connect).await?;
    let mut described = Vec::new();
    for group in &args.groups {
        described.push(describe_existing(&mut groups, group).await?);
    }
    if args.output.format == Format::Json {
        return output::json(&described);
    }
    let pages: Vec<_> = described.iter().map(|group| page(group, args.output.format)).collect();
    output::text(&pages.join("\n"))
}

fn page(group: &Group, format: Format) -> String {
    let mut head = format!("group {}  {}  {}", group.group, group.kind, group.state);
    if let (Some(epoch), Some(assignment)) = (group.epoch, group.assignment_epoch) {
        head.push_str(&format!("  epoch {epoch}  assignment epoch {assignment}"));
    }
    if group.kind == "classic" && !group.protocol_type.is_empty() {
        head.push_str(&format!("  protocol {}", group.protocol_type));
    }
    if !group.assignor.is_empty() {
        head.push_str(&format!("  assignor {}", group.assignor));
    }
    head.push_str(&format!("  {}", count(group.members.len(), "member")));
    if let Some(coordinator) = group.coordinator {
        head.push_str(&format!("  coordinator {coordinator}"));
    }
    let mut table = Table::new(&["MEMBER", "CLIENT", "HOST", "PARTITIONS", "ASSIGNMENT"])
        .wide(&["INSTANCE", "RACK", "EPOCH", "TARGET"]);
    for member in &group.members {
        let owned = member.assignment.as_ref();
        let partitions =
            owned.map_or_else(String::new, |owned| owned.values().map(Vec::len).sum::<usize>().to_string());
        table.row(&[
            &member.member,
            &member.client,
            &member.host,
            &partitions,
            &owned.map(assignment::text).unwrap_or_default(),
            &member.instance.clone().unwrap_or_default(),
            &member.rack.clone().unwrap_or_default(),
            &member.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            &target(member.target.as_ref(), owned),
        ]);
    }
    let rows = table.render(format);
    match format {
        Format::Plain => rows,
        _ if group.members.is_empty() => format!("{head}\n"),
        _ => format!("{head}\n{rows}"),
    }
}

/// Only where it differs from what the member has.
fn target(target: Option<&Partitions>, owned: Option<&Partitions>) -> String {
    target.filter(|target| Some(*target) != owned).map(assignment::text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::group::members::Member;

    fn group() -> Group {
        Group {
            group: "billing".to_owned(),
            kind: "consumer",
            state: "Reconciling".to_owned(),
            coordinator: Some(1),
            protocol_type: "consumer".to_owned(),
            assignor: "uniform".to_owned(),
            epoch: Some(7),
            assignment_epoch: Some(7),
            members: vec![Member {
                member: "m-1".to_owned(),
                instance: None,
                client: "py".to_owned(),
                host: "127.0.0.1".to_owned(),
                rack: None,
                epoch: Some(6),
                assignment: Some(Partitions::from([("orders".to_owned(), vec![0, 1, 2])])),
                target: Some(Partitions::from([("orders".to_owned(), vec![0])])),
            }],
        }
    }

    #[test]
    fn a_groups_page_shows_epochs_members_and_their_partitions() {
        assert_eq!(
            page(&group(), Format::Wide),
            "\
group billing  consumer  Reconciling  epoch 7  assignment epoch 7  assignor uniform  1 member  coordinator 1
MEMBER  CLIENT  HOST       PARTITIONS  ASSIGNMENT  INSTANCE  RACK  EPOCH  TARGET
m-1     py      127.0.0.1  3           orders:0-2  -         -     6      orders:0
"
        );
        let empty = Group { members: Vec::new(), kind: "classic", epoch: None, ..group() };
        assert_eq!(
            page(&empty, Format::Table),
            "group billing  classic  Reconciling  protocol consumer  assignor uniform  0 members  coordinator 1\n"
        );
    }

    #[test]
    fn the_json_of_a_group_keeps_its_shape() {
        assert_eq!(
            serde_json::to_string(&[group()]).unwrap(),
            r#"[{"group":"billing","type":"consumer","state":"Reconciling","coordinator":1,"protocol_type":"consumer","assignor":"uniform","epoch":7,"assignment_epoch":7,"members":[{"member":"m-1","instance":null,"client":"py","host":"127.0.0.1","rack":null,"epoch":6,"assignment":{"orders":[0,1,2]},"target":{"orders":[0]}}]}]"#
        );
    }
}
