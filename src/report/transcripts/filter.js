
(function () {
  "use strict";
  var form = document.getElementById("filter");
  if (!form) return;
  form.hidden = false;
  var keys = ["arm", "family", "condition", "outcome"];
  var all = function (from, selector) { return Array.prototype.slice.call(from.querySelectorAll(selector)); };
  var tests = all(document, "#transcripts > .test");
  var cases = null;
  function read() {
    return tests.reduce(function (list, test) {
      return list.concat(all(test, ".case").map(function (box) {
        var shared = all(box, ".shared").map(function (e) { return e.textContent; }).join("\n");
        return {
          box: box, test: test.id, shared: (box.dataset.item + "\n" + shared).toLowerCase(),
          rows: all(box, ".row").map(function (row) { return { box: row, text: row.textContent.toLowerCase() }; })
        };
      }));
    }, []);
  }
  function apply() {
    cases = cases || read();
    var field = form.elements, text = field.text.value.trim().toLowerCase(), test = field.test.value;
    var active = Boolean(text || test || keys.some(function (k) { return field[k].value; })), shown = 0;
    cases.forEach(function (c) {
      var any = false;
      c.rows.forEach(function (row) {
        var fits = (!test || c.test === test)
          && keys.every(function (k) { return !field[k].value || row.box.dataset[k] === field[k].value; })
          && (!text || c.shared.indexOf(text) >= 0 || row.text.indexOf(text) >= 0);
        row.box.hidden = !fits;
        if (fits) { any = true; shown += 1; }
      });
      c.box.hidden = !any;
    });
    tests.forEach(function (t) {
      all(t, ".group").concat([t]).forEach(function (g) {
        g.hidden = active && !g.querySelector(".case:not([hidden])");
        g.open = active && !g.hidden;
      });
    });
    document.getElementById("shown").textContent = active ? shown + (shown === 1 ? " row fits" : " rows fit") : "";
  }
  form.addEventListener("input", apply);
  form.addEventListener("reset", function () { setTimeout(apply, 0); });
  form.addEventListener("submit", function (e) { e.preventDefault(); });
})();
