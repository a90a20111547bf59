"""The looks of the report, light and dark."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f4f6f8; --text: #16202b; --dim: #51606f; --rule: #cfd7df;
  --good: #005a9c; --fault: #5b4a8a; --on-fault: #ffffff; --band: rgba(91, 74, 138, .13); --limit: #a3271f;
  --fresh: #2f7fc1; --cached: #86c5ee; --fallback: #7fd0b4; --pending: #d9c7f0;
  --unsettled: #f2c14e; --late: #f0954a; --failed: #c8452f; --ink: rgba(15, 25, 35, .62);
  --course-0: #b3400e; --course-1: #005a9c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #10161d; --panel: #1a222c; --text: #e7edf3; --dim: #a3b1bf; --rule: #364453;
    --good: #7cc0f5; --fault: #b7a5ec; --on-fault: #171128; --band: rgba(183, 165, 236, .17); --limit: #ff9288;
    --fresh: #3f8fd0; --cached: #a5d8f7; --fallback: #5fb899; --pending: #c9b3ea;
    --unsettled: #e8b73f; --late: #e78a3d; --failed: #d9583f; --ink: rgba(5, 10, 16, .66);
    --course-0: #ffa36b; --course-1: #7cc0f5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 48px; overflow-wrap: break-word; }
h1, h3, p, li, dd, td { overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 12px; }
h2 { font-size: 1.15rem; margin: 40px 0 10px; }
p { margin: 8px 0; }
.verdict { font-size: 1.15rem; border-left: 4px solid var(--good); padding: 2px 0 2px 14px; margin: 0 0 12px; }
.cut { border: 2px solid var(--limit); border-radius: 6px; padding: 6px 12px; font-weight: 600; }
.dim { color: var(--dim); }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; margin-top: 20px; }
.side { background: var(--panel); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px; min-width: 0; }
.side h3 { margin: 0; font-size: 1rem; }
.side .figure { font-size: 2.1rem; line-height: 1.25; font-weight: 650; }
.side .figure small { font-size: .9rem; font-weight: 400; color: var(--dim); display: block; }
.side svg { display: block; width: 100%; height: 22px; margin: 8px 0; border-radius: 3px; }
.side ul { list-style: none; margin: 0; padding: 0; font-size: .9rem; }
.side li { display: flex; gap: 6px; align-items: center; }
.side li svg { width: 14px; height: 14px; flex: none; margin: 0; }
.side li b { margin-left: auto; white-space: nowrap; }
table { border-collapse: collapse; width: 100%; margin: 8px 0; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; }
tbody th { font-weight: 400; }
td.number, th.number { overflow-wrap: normal; text-align: right; }
td.number, th.number { padding-right: 0; padding-left: 12px; white-space: nowrap; }
.tick { display: inline-block; width: 1.4em; color: var(--good); font-weight: 700; }
.figures th.number { padding-right: 1.4em; }
.scroll { background: var(--panel); border: 1px solid var(--rule); border-radius: 8px; padding: 10px; }
.scroll { overflow-x: auto; }
.scroll svg { display: block; width: 100%; min-width: 900px; height: auto; margin-bottom: 14px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0; font-size: .9rem; }
.legend li { display: flex; gap: 6px; align-items: center; }
.legend svg { width: 16px; height: 16px; flex: none; }
.legend svg.long { width: 34px; }
.fillings { position: absolute; }
dl { margin: 0; } dt { font-weight: 600; margin-top: 8px; } dd { margin: 0; color: var(--dim); }
svg text { fill: var(--text); font-size: 13px; }
svg .small { font-size: 12px; } svg .strong { font-weight: 650; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
svg .on-fault { fill: var(--on-fault); font-weight: 600; font-size: 12px; }
.fault { fill: var(--fault); } .band { fill: var(--band); } .band-edge { stroke: var(--fault); stroke-dasharray: 2 3; }
.axis { stroke: var(--dim); } .grid { stroke: var(--rule); }
.limit { stroke: var(--limit); stroke-width: 2; stroke-dasharray: 9 5; }
.ink { stroke: var(--ink); stroke-width: 1.4; fill: none; } .ink-fill { fill: var(--ink); }
.fresh { fill: var(--fresh); } .cached { fill: var(--cached); } .fallback { fill: var(--fallback); }
.pending { fill: var(--pending); } .unsettled { fill: var(--unsettled); } .late { fill: var(--late); }
.failed { fill: var(--failed); }
.course { fill: none; stroke-width: 2; } .course-0 { stroke: var(--course-0); stroke-dasharray: 6 3; }
.course-1 { stroke: var(--course-1); }
.mark-0 { fill: var(--course-0); } .mark-1 { fill: var(--course-1); }
@media (max-width: 600px) {
  body { font-size: 15px; }
  main { padding: 16px 12px 36px; }
  h1 { font-size: 1.35rem; }
  .verdict { font-size: 1.05rem; }
  .sides { gap: 8px; } .side { padding: 10px; } .side .figure { font-size: 1.45rem; }
  th, td { padding-right: 6px; } td.number, th.number { overflow-wrap: normal; padding-left: 6px; }
}
@media print { .scroll { overflow: visible; } .scroll svg { min-width: 0; } }
"""
