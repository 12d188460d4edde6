# Writes golden.json: what R says about the tables of make_tables.py. The tests read it; they do not need R.
# Debian: r-base-core r-cran-proc r-cran-survival r-cran-rms r-cran-jsonlite. From this folder: Rscript generate.R
suppressMessages({
  library(pROC)
  library(survival)
  library(rms)
  library(jsonlite)
})

binary <- function(d) {
  d <- d[order(-d$label), ]
  ra <- roc(d$label, d$a, levels = c(0, 1), direction = "<", quiet = TRUE)
  rb <- roc(d$label, d$b, levels = c(0, 1), direction = "<", quiet = TRUE)
  interval <- as.numeric(ci.auc(ra, method = "delong"))
  paired <- roc.test(ra, rb, method = "delong", paired = TRUE)
  plain <- suppressWarnings(
    wilcox.test(d$a[d$label == 1], d$a[d$label == 0], exact = FALSE, correct = FALSE)
  )
  p <- plogis(d$lp)
  tight <- glm.control(epsilon = 1e-15, maxit = 100)
  slope <- glm(label ~ lp, family = binomial, data = d, control = tight)
  large <- glm(label ~ 1 + offset(lp), family = binomial, data = d, control = tight)
  smooth <- lowess(p, d$label, f = 2 / 3, iter = 0, delta = 0)
  rms <- val.prob(p, d$label, pl = FALSE)
  gap <- abs(pmin(pmax(smooth$y, 0), 1) - smooth$x)
  list(
    auc = as.numeric(auc(ra)), auc_b = as.numeric(auc(rb)), variance = var(ra, method = "delong"),
    variance_b = var(rb, method = "delong"), covariance = cov(ra, rb, method = "delong"),
    low = interval[1], high = interval[3],
    paired_z = as.numeric(paired$statistic), paired_p = paired$p.value,
    mann_whitney_p_ties = plain$p.value, mann_whitney_u = as.numeric(plain$statistic),
    slope = unname(coef(slope)[2]), slope_intercept = unname(coef(slope)[1]),
    slope_se = unname(sqrt(diag(vcov(slope)))[2]), intercept = unname(coef(large)[1]),
    intercept_se = unname(sqrt(diag(vcov(large)))[1]), brier = mean((p - d$label)^2),
    rms = list(
      intercept = unname(rms["Intercept"]), slope = unname(rms["Slope"]), brier = unname(rms["Brier"]),
      ici = unname(rms["Eavg"]), e90 = unname(rms["E90"]), e_max = unname(rms["Emax"])
    ),
    ici = mean(gap), e50 = median(gap), e90 = unname(quantile(gap, 0.9)), e_max = max(gap)
  )
}

survive <- function(d) {
  km <- survfit(Surv(time, event) ~ 1, data = d, conf.type = "log-log")
  test <- survdiff(Surv(time, event) ~ group, data = d)
  cox <- coxph(
    Surv(time, event) ~ score,
    data = d, ties = "efron", control = coxph.control(eps = 1e-14, iter.max = 100, toler.chol = 1e-15)
  )
  medians <- summary(km)$table
  list(
    time = km$time, at_risk = km$n.risk, survival = km$surv, low = km$lower, high = km$upper,
    median = unname(medians["median"]), median_low = unname(medians["0.95LCL"]),
    median_high = unname(medians["0.95UCL"]),
    logrank = unname(test$chisq), logrank_p = pchisq(test$chisq, 2, lower.tail = FALSE),
    coefficient = unname(coef(cox)), se = unname(sqrt(diag(vcov(cox)))),
    p = summary(cox)$coefficients[1, 5],
    harrell = unname(concordance(Surv(time, event) ~ score, data = d, reverse = TRUE)$concordance),
    uno_48 = unname(
      concordance(Surv(time, event) ~ score, data = d, reverse = TRUE, timewt = "n/G2", ymax = 48)$concordance
    )
  )
}

result <- list(versions = list(
  R = R.version.string, pROC = as.character(packageVersion("pROC")),
  survival = as.character(packageVersion("survival")), rms = as.character(packageVersion("rms"))
))
for (name in sort(sub("\\.csv$", "", list.files(pattern = "\\.csv$")))) {
  table <- read.csv(paste0(name, ".csv"))
  result[[name]] <- if (startsWith(name, "binary")) binary(table) else survive(table)
}
write(toJSON(result, auto_unbox = TRUE, digits = NA, na = "null", pretty = TRUE), "golden.json")
