# Writes lowess.json: the curve of every set of sets.csv at its distinct probabilities, by R's lowess(f = 2/3, iter = 0, delta = 0).
# Debian: r-base-core r-cran-jsonlite. From this folder: Rscript lowess.R
library(jsonlite)
all <- read.csv("sets.csv")
found <- lapply(split(all, all$set), function(d) {
  d <- d[order(d$p), ]
  s <- lowess(d$p, d$y, f = 2 / 3, iter = 0, delta = 0)
  s$y[!duplicated(s$x)]
})
result <- list(R = R.version.string, sets = unname(found))
write(toJSON(result, auto_unbox = TRUE, digits = 12, na = "null"), "lowess.json")
