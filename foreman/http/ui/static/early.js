document.documentElement.dataset.theme = localStorage.getItem("foreman-theme") ?? "system"; // before the first drawing
