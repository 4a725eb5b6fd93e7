<?php
// Answers in the way that the query names.
switch ($_SERVER['QUERY_STRING']) {
    case 'status':
        http_response_code(418);
        exit('short and stout');
    case 'cookies':
        setcookie('a', '1', ['path' => '/', 'httponly' => true]);
        setcookie('b', '2', ['secure' => true, 'samesite' => 'Lax']);
        exit('yours');
    case 'redirect':
        header('Location: /small.html');
        exit;
    case 'see-other':
        header('Location: http://other.test/page', true, 303);
        exit;
    case 'no-content':
        http_response_code(204);
        exit;
    case 'unchanged':
        header('ETag: "own"');
        http_response_code(304);
        exit;
    case 'length':
        header('Content-Length: 5');
        exit('12345');
    case 'compressed':
        ob_start('ob_gzhandler');
        exit(str_repeat('compress me ', 1000));
    case 'pieces':
        for ($piece = 0; $piece < 5; ++$piece) {
            echo str_repeat("piece $piece ", 2000);
            flush();
        }
        exit;
    case 'large':
        for ($piece = 0; $piece < 300; ++$piece) {
            echo str_repeat(chr(65 + $piece % 26), 10000);
        }
        exit;
    case 'fatal':
        ini_set('display_errors', '0');
        no_such_function();
}
