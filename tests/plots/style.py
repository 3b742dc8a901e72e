"""How plots and the pages around them look, in a light and in a dark room."""

from __future__ import annotations

LIGHT = """--ink:#1c2430;--soft:#5d6b7d;--page:#fbfaf7;--card:#fff;
--rule:#e3e1da;--done:#2f7d5b;--refused:#b8860b;--failed:#c0392b;--unreachable:#7a6fb0;
--corrupt:#8e2464;--lost:#000;--a:#2b6cb0;--b:#c05621;--fault:#c0392b22;--recovery:#b8860b1c"""

DARK = """--ink:#e8e6e0;--soft:#9aa5b3;--page:#15191f;--card:#1c2229;
--rule:#313a45;--done:#5fbf92;--refused:#e0b13f;--failed:#ef7565;--unreachable:#a79ae6;
--corrupt:#e37bbb;--lost:#fff;--a:#7ab3ef;--b:#ef9a63;--fault:#ef756530;--recovery:#e0b13f22"""

DRAWING = """
.title{font:600 13px system-ui,sans-serif;fill:var(--ink)}
.tick{font:11px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--rule);stroke-width:1}.fault{fill:var(--fault)}.recovery{fill:var(--recovery)}
path{fill:none;stroke-width:1.6}.a{stroke:var(--a)}.b{stroke:var(--b)}
circle.done{fill:var(--done)}circle.refused{fill:var(--refused)}circle.failed{fill:var(--failed)}
circle.unreachable{fill:var(--unreachable)}circle.corrupt{fill:var(--corrupt)}
circle.lost{fill:var(--lost)}rect.yes{fill:var(--done)}rect.no{fill:var(--failed)}
rect.first{fill:var(--a)}rect.second{fill:var(--b)}rect.other{fill:var(--rule)}
"""

PAGE = f"""
:root{{color-scheme:light dark;{LIGHT}}}
@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}
body{{margin:0 auto;max-width:1040px;padding:24px 16px 48px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}}
h1{{font-size:26px;margin:0 0 4px}}h2{{font-size:17px;margin:32px 0 8px}}
p{{margin:4px 0;color:var(--soft)}}
.verdict{{display:inline-block;padding:2px 12px;border-radius:4px;color:var(--page);
font-weight:600}}
.good{{background:var(--done)}}.bad{{background:var(--failed)}}
table{{border-collapse:collapse;width:100%;background:var(--card)}}
th,td{{text-align:left;padding:5px 10px;border-bottom:1px solid var(--rule);vertical-align:top}}
th{{font-weight:600;color:var(--soft)}}
td.n,th.n{{text-align:right;font-variant-numeric:tabular-nums}}
td.yes{{color:var(--done);font-weight:600}}td.no{{color:var(--failed);font-weight:600}}
svg{{display:block;width:100%;height:auto;background:var(--card);border:1px solid var(--rule);
margin:8px 0}}
.key{{display:inline-flex;gap:6px;align-items:center;margin-right:16px;color:var(--soft)}}
.key i{{width:11px;height:11px;border-radius:50%;display:inline-block}}
{DRAWING}"""
