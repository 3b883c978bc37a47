use serde_json::{Value, json};

use super::kind::Kind;
use super::load::{Carried, Load};
use super::round::Figures;

/// All rounds of all tunnels.
#[derive(Default)]
pub(crate) struct Table {
    rounds: Vec<(Kind, Vec<Figures>)>,
}

impl Table {
    pub(crate) fn add(&mut self, kind: Kind, figures: Figures) {
        match self.rounds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, rounds)) => rounds.push(figures),
            None => self.rounds.push((kind, vec![figures])),
        }
    }

    /// Medians, with the range; W is wireguard-go in the same round.
    pub(crate) fn print(&self) {
        for load in Load::ALL {
            println!("\n{}", load.name);
            let widths = "Gbit/s                 x W                  CPU s/GB A + B   x W     foreign  rtt ms p50/p99";
            println!("  {:<17}{widths}", "");
            for (kind, rounds) in &self.rounds {
                self.print_load(*kind, rounds, load.name);
            }
        }
        println!(
            "\n  {:<17}first ms  quiet rtt ms p50/p99   woken/s A + B  idle datagrams  RSS MiB A + B (anonymous)",
            ""
        );
        for (kind, rounds) in &self.rounds {
            print_rest(*kind, rounds);
        }
    }

    fn print_load(&self, kind: Kind, rounds: &[Figures], load: &str) {
        let carried: Vec<&Carried> = rounds.iter().filter_map(|figures| of(figures, load)).collect();
        let rivals = self.rounds.iter().find(|(kind, _)| *kind == Kind::WireguardGo);
        let rivals: Vec<&Carried> =
            rivals.iter().flat_map(|(_, rounds)| rounds).filter_map(|figures| of(figures, load)).collect();
        let ratios = |value: fn(&Carried) -> f64| -> Vec<f64> {
            carried.iter().zip(&rivals).map(|(ours, theirs)| value(ours) / value(theirs)).collect()
        };
        let gbits = range(carried.iter().map(|carried| carried.gbits));
        let ratio = range(ratios(|carried| carried.gbits));
        let [a, _, _] = range(carried.iter().map(|carried| carried.cpu_a)).unwrap_or_default();
        let [b, _, _] = range(carried.iter().map(|carried| carried.cpu_b)).unwrap_or_default();
        let dearer =
            range(ratios(|carried| carried.cpu_a + carried.cpu_b)).map_or(0.0, |[median, ..]| median);
        let [foreign, ..] = range(carried.iter().map(|carried| carried.foreign)).unwrap_or_default();
        let half = range(carried.iter().filter_map(|carried| Some(carried.rtt?[0]))).unwrap_or_default();
        let most = range(carried.iter().filter_map(|carried| Some(carried.rtt?[1]))).unwrap_or_default();
        println!(
            "  {:<17}{:<22} {:<20} {a:.2} + {b:.2}      {dearer:.2}    {:>4.1} %   {:.2} / {:.2}",
            kind.name(),
            written(gbits),
            written(ratio),
            foreign * 100.0,
            half[0],
            most[0],
        );
    }

    /// Everything, round by round, to be kept.
    pub(crate) fn rows(&self) -> Value {
        self.rounds
            .iter()
            .map(|(kind, rounds)| json!({"tunnel": kind.name(), "rounds": rounds.iter().map(row).collect::<Vec<_>>()}))
            .collect()
    }
}

fn print_rest(kind: Kind, rounds: &[Figures]) {
    let median = |values: Vec<f64>| range(values).map_or(0.0, |[median, ..]| median);
    let first = median(rounds.iter().filter_map(|figures| figures.first).collect());
    let half = median(rounds.iter().filter_map(|figures| Some(figures.quiet?[0])).collect());
    let most = median(rounds.iter().filter_map(|figures| Some(figures.quiet?[1])).collect());
    let idle = rounds.iter().find_map(|figures| figures.idle);
    let woken = idle.map_or("-".into(), |idle| format!("{:.1} + {:.1}", idle.wakeups[0], idle.wakeups[1]));
    let sent = idle.map_or("-".into(), |idle| idle.datagrams.to_string());
    let size = |at: usize| {
        let resident =
            rounds.iter().filter_map(|figures| Some(figures.sizes.get(at)?.resident as f64 / 1024.0));
        median(resident.collect())
    };
    let anonymous = |at: usize| {
        let kept = rounds.iter().filter_map(|figures| Some(figures.sizes.get(at)?.anonymous as f64 / 1024.0));
        median(kept.collect())
    };
    println!(
        "  {:<17}{first:>8.2}  {half:>10.3} / {most:<10.3} {woken:>13}  {sent:>14}  {:.1} + {:.1} ({:.1} + {:.1})",
        kind.name(),
        size(0),
        size(1),
        anonymous(0),
        anonymous(1),
    );
}

fn row(figures: &Figures) -> Value {
    let loads = figures.loads.iter().map(|(name, carried)| {
        json!({
            "load": name, "gbits": carried.gbits, "cpu_s_per_gb": [carried.cpu_a, carried.cpu_b],
            "retransmits": carried.retransmits, "foreign": carried.foreign, "stolen": carried.stolen,
            "rtt_ms_p50_p99": carried.rtt,
        })
    });
    let sizes = figures.sizes.iter().map(|size| {
        json!({"resident_kib": size.resident, "anonymous_kib": size.anonymous, "peak_kib": size.peak, "threads": size.threads})
    });
    json!({
        "first_ms": figures.first, "quiet_rtt_ms_p50_p99": figures.quiet,
        "idle": figures.idle.map(|idle| json!({"wakeups_a_second": idle.wakeups, "datagrams": idle.datagrams})),
        "loads": loads.collect::<Vec<_>>(), "sizes": sizes.collect::<Vec<_>>(),
    })
}

fn of<'a>(figures: &'a Figures, load: &str) -> Option<&'a Carried> {
    figures.loads.iter().find(|(name, _)| *name == load).map(|(_, carried)| carried)
}

/// The median, the lowest and the highest.
fn range(values: impl IntoIterator<Item = f64>) -> Option<[f64; 3]> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    Some([*values.get(values.len() / 2)?, *values.first()?, *values.last()?])
}

fn written(range: Option<[f64; 3]>) -> String {
    range.map_or("-".into(), |[median, low, high]| format!("{median:.2} ({low:.2}-{high:.2})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        let rows: [(&[f64], &str); 4] = [
            (&[], "-"),
            (&[1.5], "1.50 (1.50-1.50)"),
            (&[3.0, 1.0, 2.0], "2.00 (1.00-3.00)"),
            (&[4.0, 1.0, 2.0, 3.0], "3.00 (1.00-4.00)"),
        ];
        for (values, expected) in rows {
            assert_eq!(written(range(values.iter().copied())), expected);
        }
    }
}
