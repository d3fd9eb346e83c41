"""The report's style sheet: one string, no font or file from anywhere else.

Light and dark follow the reader's system; print is always light, shows pictures and keeps figures
whole; on a phone grids reflow and tables scroll inside their own box. A system has one colour and one
marker everywhere (after Okabe and Ito's palette, which colour-blind eyes tell apart).
"""

CSS = """
:root{color-scheme:light dark;
--paper:#fff;--ink:#1b1f24;--soft:#5b6570;--faint:#8a939d;--hair:#e4e7eb;--wash:#f6f7f9;
--tower:#0067b0;--ridge:#cc5500;--informed:#00805c;--optimal:#a3478a;--shuffled:#717a84;
--other:#8a6d00;--seen:#0067b0;--right:#00936b;--bad:#b3261e;
--back:#0067b0;--front:#b4bcc5;
--sans:-apple-system,"Segoe UI Variable Text","Segoe UI",Inter,"Helvetica Neue",Roboto,
"Liberation Sans",Arial,system-ui,sans-serif;--mono:ui-monospace,"SF Mono",Menlo,Consolas,
"DejaVu Sans Mono",monospace}
@media screen and (prefers-color-scheme:dark){:root{
--paper:#14171a;--ink:#e6e9ec;--soft:#a3acb5;--faint:#7d8791;--hair:#2b3137;--wash:#1c2024;
--tower:#5ab2f2;--ridge:#f39a4d;--informed:#3ccf9f;--optimal:#de93c6;--shuffled:#99a3ad;
--other:#d9be4a;--seen:#5ab2f2;--right:#3ccf9f;--bad:#ff8a80;--back:#5ab2f2;--front:#56606a}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 var(--sans);
font-variant-numeric:tabular-nums}
main,header,footer{max-width:1040px;margin:0 auto;padding:0 24px}
header{padding-top:56px}
footer{padding-top:8px;padding-bottom:56px;color:var(--soft);font-size:14px}
section{border-top:1px solid var(--hair);padding:36px 0 28px;margin-top:16px}
h1{font-size:clamp(26px,4.4vw,40px);line-height:1.18;font-weight:640;letter-spacing:-.021em;
margin:10px 0 18px;max-width:25em;text-wrap:balance}
h1 b{color:var(--tower);font-weight:inherit}
h1 .aside{color:var(--soft);font-weight:430;font-size:.62em;letter-spacing:-.005em}
h2{font-size:22px;line-height:1.3;font-weight:640;letter-spacing:-.012em;margin:0 0 6px}
h3{font-size:15px;font-weight:640;margin:26px 0 8px}
p{margin:0 0 12px;max-width:44em}
.eyebrow{font-size:13px;letter-spacing:.04em;color:var(--soft);margin:0}
.lede{font-size:17px;color:var(--soft);max-width:46em}
.small,figcaption,.legend{font-size:14px;color:var(--soft)}
.verdict{padding:10px 14px;border-left:3px solid var(--right);background:var(--wash);max-width:none}
.verdict.bad{border-color:var(--bad)}
code,pre{font:13px/1.5 var(--mono)}
pre{background:var(--wash);border-radius:6px;padding:14px 16px;overflow-x:auto;margin:8px 0 16px;
white-space:pre}
code{overflow-wrap:anywhere}
nav{font-size:14px;margin:26px 0 4px;display:flex;flex-wrap:wrap;gap:4px 18px}
a{color:var(--soft);text-decoration-color:var(--hair);text-underline-offset:3px}
a:hover{color:var(--ink)}
:focus-visible{outline:2px solid var(--tower);outline-offset:2px;border-radius:2px}
details{margin:14px 0}
summary{cursor:pointer;font-size:15px;font-weight:560;padding:6px 0}
.s-tower{--c:var(--tower)}.s-ridge{--c:var(--ridge)}.s-shuffled{--c:var(--shuffled)}
.s-informed-observer{--c:var(--informed)}.s-optimal-observer{--c:var(--optimal)}
.s-other{--c:var(--other)}
/* systems */
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:9px 16px;align-items:center;
margin:26px 0 8px}
.bars .name{font-size:15px}.bars .name small{display:block;color:var(--soft);font-size:12.5px;
line-height:1.3}
.bars .track{position:relative;height:20px;background:var(--wash);border-radius:3px}
.bars .fill{position:absolute;left:0;top:0;bottom:0;background:var(--c);border-radius:3px;
opacity:.88;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.bars .span{position:absolute;top:9px;height:2px;background:var(--ink);min-width:1px}
.bars .span:before,.bars .span:after{content:"";position:absolute;top:-3px;width:1.5px;height:8px;
background:var(--ink)}
.bars .span:before{left:0}.bars .span:after{right:0}
.bars .chance{position:absolute;top:-5px;bottom:-5px;border-left:1.5px dashed var(--soft)}
.bars .value{text-align:right;white-space:nowrap;font-size:15px}
.bars .value b{font-weight:640}.bars .value small{color:var(--soft);font-size:13px;margin-left:6px}
/* pictures */
.pic{display:block;width:100%;aspect-ratio:1;background:var(--wash) center/cover no-repeat;
border-radius:4px;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.pic.none{display:grid;place-items:center;font-size:11px;line-height:1.2;color:var(--soft);
padding:4px;text-align:center;overflow:hidden;overflow-wrap:anywhere}
.finds{display:grid;gap:18px;margin:10px 0 8px}
.find{display:grid;grid-template-columns:136px 1fr;gap:22px;align-items:start;break-inside:avoid}
.find .top{display:grid;grid-template-columns:repeat(8,1fr);gap:8px;padding-top:2px}
.find figure,.category figure{margin:0}
.find figcaption{font-size:12px;line-height:1.3;margin-top:5px;overflow-wrap:break-word;
hyphens:auto}
.find .seen figcaption b{color:var(--ink);font-weight:560;display:block}
.find .top figcaption{text-align:center}
.find .hit .pic{outline:3px solid var(--right);outline-offset:2px}
.find .hit figcaption{color:var(--right);font-weight:640}
.find .note{grid-column:1/-1;font-size:12.5px;color:var(--soft);margin:0}
.key{display:inline-block;width:12px;height:12px;border-radius:3px;vertical-align:-1px;
outline:2.5px solid var(--right);outline-offset:-1px;margin:0 3px}
.browse{font-size:13px}
.browse .find{grid-template-columns:92px 1fr;gap:20px;padding:7px 0;border-top:1px solid var(--hair);
content-visibility:auto;contain-intrinsic-size:auto 110px}
.browse .finds{gap:0}
.browse .top{grid-template-columns:repeat(10,1fr);gap:6px}
.categories{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,220px));gap:18px;
margin:14px 0}
/* charts */
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,380px),1fr));gap:20px 36px;
align-items:start}
figure{margin:8px 0;break-inside:avoid}
svg.chart{display:block;width:100%;height:auto;overflow:visible}
figcaption{margin-bottom:4px}
.chart text{font:12px var(--sans);fill:var(--soft);font-variant-numeric:tabular-nums}
.chart .tick{text-anchor:end}.chart .mid{text-anchor:middle}.chart .start{text-anchor:start}
.chart .strong{fill:var(--ink);font-weight:600}
.chart .end{text-anchor:end}.chart .note{font-size:11px}
.grid{stroke:var(--hair);stroke-width:1}.axis{stroke:var(--faint);stroke-width:1}
.chance{stroke:var(--soft);stroke-width:1.4;stroke-dasharray:4 3;fill:none}
.threshold{stroke:var(--soft);stroke-width:1;stroke-dasharray:1 3;fill:none}
.upright{stroke:var(--faint);stroke-width:1;stroke-dasharray:2 3}
.line{fill:none;stroke:var(--c);stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.line.faint{stroke-width:1.4;opacity:.6}
.line.dashed{stroke-width:1.4;stroke-dasharray:5 3;opacity:.75}
.band{fill:var(--c);opacity:.15}
.whisker{stroke:var(--c);stroke-width:2;stroke-linecap:round}
.mark{fill:var(--c);stroke:var(--paper);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 10px;max-width:none}
.legend span{white-space:nowrap}.legend svg{width:14px;height:14px;vertical-align:-2px;margin-right:6px}
.bundle path{fill:none;stroke-width:9;opacity:.6;stroke-linejoin:round}
.bundle.few path{stroke-width:15;opacity:1}
.bundle .gfp{stroke:var(--ink);stroke-width:15;opacity:1}.peak{fill:var(--paper);stroke:var(--ink);
stroke-width:1.4}
.q0{stroke:var(--back)}.q1{stroke:color-mix(in srgb,var(--back) 75%,var(--front))}
.q2{stroke:color-mix(in srgb,var(--back) 50%,var(--front))}
.q3{stroke:color-mix(in srgb,var(--back) 25%,var(--front))}.q4{stroke:var(--front)}
.ramp{display:inline-block;width:44px;height:8px;border-radius:4px;margin:0 6px;
background:linear-gradient(90deg,var(--back),var(--front));print-color-adjust:exact;
-webkit-print-color-adjust:exact}
.maps{display:flex;flex-wrap:wrap;gap:6px 14px}
.maps.four figure{width:min(22%,150px)!important}
.maps figure{width:min(30%,150px);text-align:center}.maps img{width:100%;height:auto;display:block}
.slices{width:100%;height:auto;display:block}
.matrix{margin:0 auto}
.cell{fill:var(--ridge)}.cell.same{fill:var(--tower)}
.outline{fill:none;stroke:var(--hair);stroke-width:.8}
.frame{fill:none;stroke:var(--faint)}
/* tables */
.scroll{overflow-x:auto;margin:10px 0;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:14px;width:100%}
th,td{text-align:right;padding:6px 10px;border-bottom:1px solid var(--hair);white-space:nowrap;
vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:560;border-bottom-color:var(--faint);vertical-align:bottom}
td small{display:block;color:var(--soft);font-size:12px}
tbody th{font-weight:560}th .wrap{display:inline-block;white-space:normal;max-width:150px}
dl{display:grid;grid-template-columns:minmax(120px,max-content) 1fr;gap:5px 22px;margin:10px 0;
font-size:15px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media screen and (max-width:760px){main,header,footer{padding-left:18px;padding-right:18px}
header{padding-top:32px}
.find{grid-template-columns:1fr;gap:10px}h1 .aside{display:block;margin-top:6px;font-size:.68em}
.chart text{font-size:13px}.find .seen{display:grid;grid-template-columns:112px 1fr;gap:14px;
align-items:center}.find .seen figcaption{margin:0;font-size:14px}
.find .top{grid-template-columns:repeat(4,1fr)}
.browse .find{grid-template-columns:1fr}.browse .find .seen{grid-template-columns:76px 1fr}
.browse .top{grid-template-columns:repeat(5,1fr)}
.bars{grid-template-columns:1fr max-content;gap:3px 12px;grid-auto-flow:dense}
.bars .track{grid-column:1/-1;margin-bottom:9px}.bars .name small{display:none}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}}
@media print{@page{size:A4;margin:15mm 14mm}
body{font-size:10.5pt}main,header,footer{max-width:none;padding:0}header{padding-top:0}
nav{display:none}section{padding:14pt 0 6pt;margin-top:6pt}
h1{font-size:23pt}h2,h3,summary,.legend{break-after:avoid}
.browse{display:none}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:8pt}
details:not(.browse)::details-content{content-visibility:visible}
.finds,.find{display:block}.find{margin-bottom:14pt;overflow:hidden}
.find .seen{float:left;width:92pt}.find .top{margin-left:108pt}
table{font-size:8.5pt}th,td{padding:3pt 5pt}tr,.scroll,#confusion{break-inside:avoid}.scroll{overflow:visible}
.charts{grid-template-columns:1fr 1fr;gap:10pt 18pt}.matrix{max-width:125mm!important}
.bars .track{background:none;border:1px solid var(--hair)}}
"""

GALLERY = """
/* reconstructions; only pages that have them carry this */
.paints{display:grid;gap:26px;margin:10px 0 8px}
.paint{display:flex;flex-wrap:wrap;gap:10px 22px;align-items:flex-start;break-inside:avoid}
.paint figure{margin:0}
.paint figcaption{font-size:12px;line-height:1.3;margin-top:5px;overflow-wrap:anywhere}
.paint figcaption b{color:var(--ink);font-weight:560;display:block}
.paint figcaption small{display:block;font-size:11.5px;color:var(--faint)}
.paint .rest figcaption b{display:inline;font-weight:400}
.paint .main,.paint .rest{display:grid;grid-template-columns:repeat(var(--n),minmax(0,1fr));gap:10px}
.paint .main{flex:calc(var(--n)*1.55) 1 0}
.paint .rest{flex:var(--n) 1 0;gap:8px}
.paint .hit .pic{outline:2.5px solid var(--right);outline-offset:2px}
.paint .hit figcaption,.paint .hit figcaption b{color:var(--right)}
.paint .note{flex:1 0 100%;max-width:none;margin:0;font-size:13px;color:var(--soft);display:flex;
flex-wrap:wrap;gap:4px 16px;align-items:baseline}
.paint .note b{color:var(--ink);font-weight:600}
.paint q{font-style:italic}
.words{display:flex;flex-wrap:wrap;gap:6px}
.word{padding:0 7px;border-radius:3px;background:linear-gradient(90deg,
color-mix(in srgb,var(--tower) 22%,transparent) var(--p),var(--wash) var(--p));
print-color-adjust:exact;-webkit-print-color-adjust:exact}
.word small{font-size:11.5px}
.terms{font-size:14px;color:var(--soft);gap:2px 16px;margin:0 0 12px}.terms dt{color:var(--ink)}
.terms{grid-template-columns:max-content 1fr max-content 1fr}
.chips{display:flex;flex-wrap:wrap;gap:10px 26px;margin:10px 0 16px}
.chips fieldset{border:0;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:6px;align-items:center;
min-width:0}
.chips legend{float:left;color:var(--soft);font-size:13px;padding:0;margin-right:4px}
.chips input{position:absolute;opacity:0;pointer-events:none}
.chips label{font-size:13px;line-height:1;padding:6px 11px;border:1px solid var(--hair);
border-radius:99px;cursor:pointer;color:var(--soft)}
.chips label:hover{color:var(--ink)}
.chips input:checked+label{background:var(--ink);border-color:var(--ink);color:var(--paper)}
.chips input:focus-visible+label{outline:2px solid var(--tower);outline-offset:2px}
.who h4{font-size:13px;font-weight:560;margin:0 0 8px;color:var(--soft)}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(136px,1fr));gap:14px 12px;
grid-auto-flow:dense}
.pair{margin:0;min-width:0;content-visibility:auto;contain-intrinsic-size:auto 96px}
.pair summary{list-style:none;padding:0;font-weight:400}
.pair summary::-webkit-details-marker{display:none}
.two{display:grid;grid-template-columns:1fr 1fr;gap:2px}
.two .pic:first-child{border-radius:4px 0 0 4px}.two .pic:last-child{border-radius:0 4px 4px 0}
summary:hover .two{outline:2px solid var(--hair);outline-offset:2px;border-radius:3px}
.said{display:flex;justify-content:space-between;gap:8px;font-size:12px;line-height:1.3;margin-top:4px}
.said b{font-weight:400;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.said small{color:var(--soft);font-size:12px}
.pair[open]{grid-column:1/-1;padding:14px 16px;background:var(--wash);border-radius:6px}
.pair[open] .two{display:none}
.pair[open] .said{font-size:15px;margin:0 0 10px;justify-content:start}
.pair[open] .said b{font-weight:600}
@media screen and (max-width:760px){
.paint{display:grid;gap:9px}
.paint .main{grid-template-columns:repeat(auto-fit,minmax(92px,1fr));gap:8px}
.paint .rest{grid-template-columns:repeat(auto-fit,minmax(56px,1fr));gap:7px}
.paint .rest figcaption{font-size:11px}.terms dd{margin:0}
.terms{grid-template-columns:max-content 1fr}
.sheet{grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:14px 10px}}
@media print{.paint{gap:6pt 12pt}.paint .main{flex-grow:calc(var(--n)*1.3)}}
"""
