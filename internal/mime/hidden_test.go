package mime

import "testing"

func TestHiddenEnds(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`<p style="display:none">a<p>b`:                                                 "b",
		`<p style="display:none">a<div>b</div>c`:                                        "b\nc",
		`<div><span style="display:none">a</div>b`:                                      "b",
		`<div><span style="display:none">a<i>x</div>b`:                                  "b",
		`<p><span style="display:none">a<p>b`:                                           "b",
		`<p>b<i><span style="display:none">a<p>c`:                                       "b\n\nc",
		`<div hidden style="color:red">a</div>b`:                                        "b",
		`<div hidden style="display:block">a</div>b`:                                    "a\nb",
		`<ul><li hidden>a<li>b</ul>`:                                                    "- b",
		`<ul><li hidden>a<ul><li>x</ul>y<li>b</ul>`:                                     "- b",
		`<table><tr><td style="display:none">a<td>b</table>c`:                           "b\nc",
		`<table><tr><td style="display:none">a<table><tr><td>x</table>y<td>b</table>`:   "b",
		`<table><tr><td style="display:none">a</tr><tr><td>b</table>`:                   "b",
		`<table><tr style="display:none"><td>a<td>x<tr><td>b</table>`:                   "b",
		`<div style="display:none">a<div>x</div>y</div>b`:                               "b",
		`<div style="display:none">a<p>x</i></span></td>y</div>b`:                       "b",
		`<div><div style="display:none">a<span>x</span></b></div></div>b`:               "b",
		`<b><div style="display:none">a</b>x</div>b`:                                    "b",
		`a<svg width="1" />b<math/>c`:                                                   "abc",
		`<div style="display:none">a<table><tr><td>x</td></tr></table>y<p>z</p></div>b`: "b",
		`<table><tr><td><div style="display:none">a<div>x<td>b</table>c`:                "b\nc",
		`<table><tr><td><div style="display:none">a<tr><td>b</table>c`:                  "b\nc",
		`<table><tr><td hidden>a<ul><li>x<td>b</table>c`:                                "b\nc",
		`<table><tr><td><div hidden>a<table><tr><td>x</table>y</div>b</table>`:          "b",
		`<table><tr><td><table hidden><tr><td>a<td>x</table>b</table>`:                  "b",
		`<table><tr><td><table><tr hidden><td>a<td>x<tr><td>b</table>c</table>`:         "b\nc",
		`<table><tr><td><table><tbody hidden><tr><td>a</tbody></table>b</table>`:        "b",
		`<div><div hidden>a<tr><td>x</div>b</div>`:                                      "b",
	} {
		if got := HTMLToText(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
