#include "sim/output.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include <nlohmann/json.hpp>

namespace backhand::sim {

namespace {

std::string fixed(double value, int digits) {
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, value);
    return buffer.data();
}

std::string with_half_width(const Estimate& estimate, const Metric& metric) {
    const std::string mean = fixed(estimate.mean * metric.scale, metric.digits);
    return estimate.half_width == 0
               ? mean
               : mean + " ±" + fixed(estimate.half_width * metric.scale, metric.digits);
}

// What a column takes on a terminal: bytes that begin a character.
std::size_t width_of(const std::string& text) {
    std::size_t width = 0;
    for (const char byte : text) {
        width += (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U ? 1 : 0;
    }
    return width;
}

using Row = std::vector<std::string>;

std::string laid_out(const std::vector<Row>& rows) {
    std::vector<std::size_t> widths(rows.front().size());
    for (const Row& row : rows) {
        for (std::size_t column = 0; column < row.size(); ++column) {
            widths[column] = std::max(widths[column], width_of(row[column]));
        }
    }
    std::string text;
    for (const Row& row : rows) {
        for (std::size_t column = 0; column < row.size(); ++column) {
            const std::string padding(widths[column] - width_of(row[column]), ' ');
            const bool last = column + 1 == row.size();
            // Names to the left, numbers to the right.
            text += column == 0 ? row[column] + padding : padding + row[column];
            text += last ? "\n" : "  ";
        }
    }
    return text;
}

bool any_above_zero(const Results& results, Metric::Index metric) {
    for (const Cell& cell : results.cells) {
        if (cell.of(metric).mean > 0) {
            return true;
        }
    }
    return false;
}

std::vector<Metric::Index> shown_metrics(const Results& results) {
    std::vector<Metric::Index> shown = {Metric::mean, Metric::p50,       Metric::p99,
                                        Metric::p999, Metric::forwarded, Metric::utilisation};
    for (const Metric::Index rare : {Metric::failed, Metric::unfinished}) {
        if (any_above_zero(results, rare)) {
            shown.push_back(rare);
        }
    }
    return shown;
}

// "-12.3 % ±0.4": of the first contestant's mean.
std::string compared(const Results& results, std::size_t load, std::size_t contestant) {
    const auto& base = results.at(load, 0).values[Metric::mean];
    const double mean = estimate(base).mean;
    if (contestant == 0 || mean <= 0) {
        return "";
    }
    const Estimate difference =
        estimate_difference(results.at(load, contestant).values[Metric::mean], base);
    const std::string sign = difference.mean >= 0 ? "+" : "";
    std::string text = sign + fixed(100 * difference.mean / mean, 1) + " %";
    if (difference.half_width > 0) {
        text += " ±" + fixed(100 * difference.half_width / mean, 1);
    }
    return text;
}

}  // namespace

std::string as_table(const Results& results) {
    const auto shown = shown_metrics(results);
    std::string text = results.scenario.name + "\n";
    for (std::size_t load = 0; load < results.loads.size(); ++load) {
        Row heading = {"load " + fixed(results.loads[load], 2)};
        for (const Metric::Index metric : shown) {
            heading.emplace_back(metrics[metric].heading);
        }
        heading.emplace_back("mean, to the first");
        std::vector<Row> rows = {heading};
        for (std::size_t number = 0; number < results.scenario.contestants.size(); ++number) {
            Row row = {results.scenario.contestants[number].name};
            for (const Metric::Index metric : shown) {
                row.push_back(
                    with_half_width(results.at(load, number).of(metric), metrics[metric]));
            }
            row.push_back(compared(results, load, number));
            rows.push_back(row);
        }
        text += "\n" + laid_out(rows);
    }
    text += "\n" + std::to_string(results.scenario.run.replications) + " replications of " +
            std::to_string(results.scenario.run.requests) + " requests, seeds from " +
            std::to_string(results.scenario.run.seed) + "; ± is the 95 % confidence interval\n";
    return text;
}

std::string as_csv(const Results& results) {
    std::string text = "load,contestant,seed";
    for (const Metric& metric : metrics) {
        text += std::string(",") + metric.name;
    }
    text += "\n";
    for (const Cell& cell : results.cells) {
        std::string name;
        for (const char letter : results.scenario.contestants[cell.contestant].name) {
            name += letter == '"' ? "\"\"" : std::string(1, letter);
        }
        for (std::uint32_t number = 0; number < results.scenario.run.replications; ++number) {
            text += fixed(cell.load, 4) + ",\"" + name + "\"," +
                    std::to_string(results.scenario.run.seed + number);
            for (const auto& values : cell.values) {
                text += "," + fixed(values[number], 6);
            }
            text += "\n";
        }
    }
    return text;
}

std::string as_json(const Results& results) {
    using nlohmann::ordered_json;
    const Scenario& scenario = results.scenario;
    ordered_json root = {{"scenario", scenario.name},
                         {"servers", scenario.servers_count()},
                         {"requests", scenario.run.requests},
                         {"replications", scenario.run.replications},
                         {"seed", scenario.run.seed}};
    ordered_json& cells = root["results"] = ordered_json::array();
    for (const Cell& cell : results.cells) {
        const Contestant& contestant = scenario.contestants[cell.contestant];
        ordered_json one = {{"load", cell.load}, {"contestant", contestant.name}};
        if (contestant.chain) {
            one["chain"] = contestant.chain->text();
        }
        for (std::size_t metric = 0; metric < Metric::count; ++metric) {
            const Estimate estimated = estimate(cell.values[metric]);
            one[metrics[metric].name] = {{"mean", estimated.mean},
                                         {"half_width", estimated.half_width}};
        }
        if (scenario.classes.size() > 1) {
            for (std::size_t kind = 0; kind < cell.by_class.size(); ++kind) {
                const Histogram& responses = cell.by_class[kind];
                one["requests"][scenario.classes[kind].name] = {
                    {"count", responses.count()},
                    {"mean", responses.mean() / 1e6},
                    {"p99", responses.quantile(0.99) / 1e6}};
            }
        }
        cells.push_back(std::move(one));
    }
    return root.dump(2) + "\n";
}

}  // namespace backhand::sim
