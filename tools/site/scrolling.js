// Code and tables that are wider than the page scroll by themselves. With a keyboard that takes a
// place that can have the focus; where nothing is hidden there is none, so nobody stops in vain.
const wide = ".md-typeset pre > code, .md-typeset__scrollwrap";

function mark() {
  for (const part of document.querySelectorAll(wide)) {
    if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight) {
      part.tabIndex = 0;
    } else {
      part.removeAttribute("tabindex");
    }
  }
}

addEventListener("load", mark);
addEventListener("resize", mark);
