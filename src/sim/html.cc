#include "sim/html.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "base/html_text.h"
#include "sim/output.h"

namespace backhand::sim {

namespace {

// Twelve colours that differ in lightness, too (after Paul Tol's).
constexpr std::array<const char*, 12> colours = {"#332288", "#cc6677", "#117733", "#ddaa33",
                                                 "#88ccee", "#882255", "#44aa99", "#999933",
                                                 "#aa4499", "#555555", "#ee7733", "#0077bb"};

constexpr const char* head = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
pre { overflow-x: auto; background: #f5f5f2; padding: .8em; font-size: 13px }
.plots { display: flex; flex-wrap: wrap; gap: 1.5em } figure { margin: 0 }
figcaption { font-weight: 600; margin-bottom: .3em }
svg { font: 11px system-ui, sans-serif } svg .grid { stroke: #ddd } svg .axis { stroke: #555 }
.legend { columns: 3; list-style: none; padding: 0; margin: 1em 0 } .legend i { display: inline-block; width: 1.6em; height: .35em; vertical-align: middle; margin-right: .5em }
</style>
)";

std::string number(double value, int digits = 1) {
    std::array<char, 48> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, value);
    return buffer.data();
}

// As short as it can be read: 0.05, 12, 3000.
std::string tick(double value) {
    std::array<char, 48> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%g", value);
    return buffer.data();
}

struct Point {
    double x;
    double y;
    double half_width = 0;
};

struct Curve {
    std::string name;
    std::string colour;
    std::vector<Point> points;
};

struct Plot {
    std::string title;
    std::string x_label;
    bool logarithmic = false;  // upwards
    bool marks = true;
    std::vector<Curve> curves;
    std::vector<double> events;  // vertical lines
};

// Where a value lies on an axis from 0 to 1.
class Axis {
public:
    Axis(double least, double most, bool logarithmic)
        : logarithmic_(logarithmic && least > 0),
          least_(least),
          most_(most > least ? most : least + 1) {
        if (logarithmic_) {
            least_ = std::pow(10, std::floor(std::log10(least_)));
            most_ = std::pow(10, std::ceil(std::log10(most_) - 1e-9));
            most_ = std::max(most_, least_ * 10);
        }
    }

    double at(double value) const {
        if (logarithmic_) {
            return std::log(std::max(value, least_) / least_) / std::log(most_ / least_);
        }
        return (value - least_) / (most_ - least_);
    }

    std::vector<double> ticks() const {
        std::vector<double> result;
        if (logarithmic_) {
            const bool few = std::log10(most_ / least_) < 3.5;
            for (double decade = least_; decade <= most_ * 1.001; decade *= 10) {
                for (const double step : {1.0, 2.0, 5.0}) {
                    if ((few || step == 1) && decade * step <= most_ * 1.001) {
                        result.push_back(decade * step);
                    }
                }
            }
            return result;
        }
        const double rough = (most_ - least_) / 5;
        const double decade = std::pow(10, std::floor(std::log10(rough)));
        const double step = rough / decade < 1.5   ? decade
                            : rough / decade < 3.5 ? 2 * decade
                            : rough / decade < 7.5 ? 5 * decade
                                                   : 10 * decade;
        for (double value = std::ceil(least_ / step) * step; value <= most_ + step / 1000;
             value += step) {
            result.push_back(std::abs(value) < step / 1000 ? 0 : value);
        }
        return result;
    }

private:
    bool logarithmic_;
    double least_;
    double most_;
};

constexpr double plot_width = 520;
constexpr double plot_height = 300;
constexpr double left = 58;
constexpr double bottom = 36;
constexpr double top = 10;
constexpr double right = 12;

double across(const Axis& axis, double value) {
    return left + axis.at(value) * (plot_width - left - right);
}

double down(const Axis& axis, double value) {
    return plot_height - bottom - axis.at(value) * (plot_height - bottom - top);
}

std::string line(double x1, double y1, double x2, double y2, const char* kind) {
    return "<line class=\"" + std::string(kind) + "\" x1=\"" + number(x1) + "\" y1=\"" +
           number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) + "\"/>";
}

std::string drawn(const Curve& curve, const Axis& x, const Axis& y, bool marks) {
    std::string path;
    std::string svg;
    for (const Point& point : curve.points) {
        path += (path.empty() ? "M" : "L") + number(across(x, point.x)) + " " +
                number(down(y, point.y));
        if (marks) {
            svg += "<circle cx=\"" + number(across(x, point.x)) + "\" cy=\"" +
                   number(down(y, point.y)) + "\" r=\"2.6\" fill=\"" + curve.colour + "\"/>";
        }
        if (point.half_width > 0) {
            svg += "<path stroke=\"" + curve.colour + "\" d=\"M" + number(across(x, point.x)) +
                   " " + number(down(y, point.y - point.half_width)) + "V" +
                   number(down(y, point.y + point.half_width)) + "\"/>";
        }
    }
    return "<g><title>" + escaped(curve.name) +
           "</title><path fill=\"none\" stroke-width=\"1.7\" stroke=\"" + curve.colour + "\" d=\"" +
           path + "\"/>" + svg + "</g>";
}

std::string drawn(const Plot& plot) {
    double x_least = INFINITY;
    double x_most = -INFINITY;
    double y_least = INFINITY;
    double y_most = -INFINITY;
    for (const Curve& curve : plot.curves) {
        for (const Point& point : curve.points) {
            x_least = std::min(x_least, point.x);
            x_most = std::max(x_most, point.x);
            y_least = std::min(y_least, point.y);
            y_most = std::max(y_most, point.y);
        }
    }
    if (!std::isfinite(x_least)) {
        return "";
    }
    const Axis x{x_least, x_most, false};
    const Axis y{plot.logarithmic ? y_least : 0, y_most, plot.logarithmic};
    std::string svg = "<figure><figcaption>" + escaped(plot.title) + "</figcaption><svg width=\"" +
                      number(plot_width, 0) + "\" height=\"" + number(plot_height, 0) +
                      "\" role=\"img\">";
    for (const double value : y.ticks()) {
        svg += line(left, down(y, value), plot_width - right, down(y, value), "grid");
        svg += "<text x=\"" + number(left - 6) + "\" y=\"" + number(down(y, value) + 4) +
               "\" text-anchor=\"end\">" + tick(value) + "</text>";
    }
    for (const double value : x.ticks()) {
        svg += "<text x=\"" + number(across(x, value)) + "\" y=\"" +
               number(plot_height - bottom + 15) + "\" text-anchor=\"middle\">" + tick(value) +
               "</text>";
    }
    for (const double event : plot.events) {
        if (event >= x_least && event <= x_most) {
            svg += "<path stroke=\"#c33\" stroke-dasharray=\"4 3\" d=\"M" +
                   number(across(x, event)) + " " + number(top) + "V" +
                   number(plot_height - bottom) + "\"/>";
        }
    }
    svg += line(left, plot_height - bottom, plot_width - right, plot_height - bottom, "axis");
    for (const Curve& curve : plot.curves) {
        svg += drawn(curve, x, y, plot.marks);
    }
    svg += "<text x=\"" + number((left + plot_width - right) / 2) + "\" y=\"" +
           number(plot_height - 4) + "\" text-anchor=\"middle\">" + escaped(plot.x_label) +
           "</text>";
    return svg + "</svg></figure>\n";
}

Curve curve_of(const Results& results, std::size_t contestant) {
    return {
        results.scenario.contestants[contestant].name, colours[contestant % colours.size()], {}};
}

Plot over_load(const Results& results, Metric::Index metric, const char* title, bool logarithmic) {
    Plot plot{title, "load", logarithmic, true, {}, {}};
    for (std::size_t contestant = 0; contestant < results.scenario.contestants.size();
         ++contestant) {
        Curve curve = curve_of(results, contestant);
        for (std::size_t load = 0; load < results.loads.size(); ++load) {
            const Estimate estimated = results.at(load, contestant).of(metric);
            const double scale = metrics[metric].scale;
            curve.points.push_back(
                {results.loads[load], estimated.mean * scale, estimated.half_width * scale});
        }
        plot.curves.push_back(std::move(curve));
    }
    return plot;
}

std::vector<double> events_in(const Scenario& scenario) {
    std::vector<double> events;
    const auto add = [&events](MonotonicTime at) {
        if (at != 0 && at != Failure::never_ends) {
            events.push_back(static_cast<double>(at) / 1e9);
        }
    };
    for (const Failure& failure : scenario.failures) {
        add(failure.from);
        add(failure.to);
    }
    for (const RateChange& step : scenario.arrivals.steps) {
        add(step.at);
    }
    for (const IngressChange& change : scenario.arrivals.ingress_changes) {
        add(change.at);
    }
    for (const Antagonist& antagonist : scenario.antagonists) {
        add(antagonist.from);
        add(antagonist.to);
    }
    return events;
}

using OfBin = std::function<double(const SeriesBin&)>;

Plot over_time(const Results& results, std::size_t load, const char* title, bool logarithmic,
               const OfBin& value) {
    Plot plot{title, "seconds since the start",  logarithmic, false,
              {},    events_in(results.scenario)};
    for (std::size_t contestant = 0; contestant < results.scenario.contestants.size();
         ++contestant) {
        const Cell& cell = results.at(load, contestant);
        Curve curve = curve_of(results, contestant);
        for (std::size_t bin = 0; bin < cell.series.size(); ++bin) {
            const SeriesBin& one = cell.series[bin];
            if (one.finished + one.failed > 0) {
                curve.points.push_back(
                    {(static_cast<double>(bin) + 0.5) * cell.bin_seconds, value(one)});
            }
        }
        plot.curves.push_back(std::move(curve));
    }
    return plot;
}

}  // namespace

std::string as_html(const Results& results) {
    const Scenario& scenario = results.scenario;
    const std::string name = escaped(scenario.name);
    std::string page(head);
    page += "<title>" + name + "</title></head><body>\n<h1>" + name + "</h1>\n<p>" +
            escaped(scenario.description) + "</p>\n<ul class=\"legend\">";
    for (std::size_t contestant = 0; contestant < scenario.contestants.size(); ++contestant) {
        page += "<li><i style=\"background:" + std::string(colours[contestant % colours.size()]) +
                "\"></i>" + escaped(scenario.contestants[contestant].name) + "</li>";
    }
    page += "</ul>\n";
    if (results.loads.size() > 1) {
        page += "<h2>Over load</h2>\n<div class=\"plots\">";
        page += drawn(over_load(results, Metric::mean, "Mean response time, ms", true));
        page += drawn(over_load(results, Metric::p50, "Median, ms", true));
        page += drawn(over_load(results, Metric::p99, "99th percentile, ms", true));
        page += drawn(over_load(results, Metric::p999, "99.9th percentile, ms", true));
        page += drawn(over_load(results, Metric::forwarded, "Forwarded, %", false));
        page += drawn(over_load(results, Metric::utilisation, "CPU in use, %", false));
        page += "</div>\n";
    }
    for (std::size_t load = 0; load < results.loads.size() && scenario.run.series_bins != 0;
         ++load) {
        page += "<h2>Over time, load " + tick(results.loads[load]) + "</h2>\n<div class=\"plots\">";
        page += drawn(
            over_time(results, load, "Mean response time, ms", true, [](const SeriesBin& bin) {
                return bin.response_sum_ns / 1e6 / std::max(1U, bin.finished);
            }));
        page += drawn(over_time(results, load, "Longest response, ms", true,
                                [](const SeriesBin& bin) { return bin.longest_ns / 1e6; }));
        page += drawn(over_time(results, load, "Forwarded, %", false, [](const SeriesBin& bin) {
            return 100.0 * bin.forwarded / std::max(1U, bin.finished);
        }));
        page += drawn(over_time(results, load, "Failed, %", false, [](const SeriesBin& bin) {
            return 100.0 * bin.failed / (bin.finished + bin.failed);
        }));
        page += drawn(over_time(results, load, "Most requests in progress at one server", false,
                                [](const SeriesBin& bin) { return bin.in_flight_highest; }));
        page += "</div>\n";
    }
    page +=
        "<h2>Figures</h2>\n<pre>" + escaped(as_table(results)) + "</pre>\n<h2>Chains</h2>\n<pre>";
    for (const Contestant& contestant : scenario.contestants) {
        page +=
            escaped(contestant.name) + ": " +
            escaped(contestant.chain ? contestant.chain->is_off() ? "off" : contestant.chain->text()
                                     : "a reference, not a chain") +
            "\n";
    }
    return page + "</pre>\n</body></html>\n";
}

}  // namespace backhand::sim
