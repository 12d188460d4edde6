# Writes medians.json: median and its log(-log) interval of every group of groups.csv, by R's quantile(survfit()).
# Debian: r-base-core r-cran-survival r-cran-jsonlite. From this folder: Rscript medians.R
suppressMessages({
  library(survival)
  library(jsonlite)
})
all <- read.csv("groups.csv")
found <- lapply(split(all, all$group), function(d) {
  fit <- survfit(Surv(time, event) ~ 1, data = d, conf.type = "log-log", conf.int = d$level[1])
  q <- quantile(fit, 0.5)
  unname(c(q$quantile, q$lower, q$upper))
})
found <- do.call(rbind, found[order(as.integer(names(found)))])
result <- list(
  versions = list(R = R.version.string, survival = as.character(packageVersion("survival"))),
  median = found[, 1], low = found[, 2], high = found[, 3]
)
write(toJSON(result, auto_unbox = TRUE, digits = NA, na = "null"), "medians.json")
